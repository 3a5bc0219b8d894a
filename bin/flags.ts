import type { Flag } from './declaration.js'
import type { Settings } from './settings.js'

/** Flags of every verb. */
export const COMMON_FLAGS = {
  config: {
    describe: 'Config file, INI or JSON',
    otherwise: 'nearest .hyperseaportrc, then ~/.config/hyperseaport'
  },
  verbose: { kind: 'switch', describe: 'Say more, with stack traces' }
} satisfies Record<string, Flag>

/** Flags of the verbs that join the network. */
export const NETWORK_FLAGS = {
  bootstrap: {
    kind: 'list',
    describe: 'Nodes of a private DHT, host:port[,host:port…]',
    otherwise: 'the public DHT'
  },
  host: {
    describe: 'Address the DHT node binds and advertises',
    otherwise: 'every address, or loopback if all bootstrap nodes are there'
  }
} satisfies Record<string, Flag>

export const DIR_FLAG = {
  describe: 'Folder to keep data in',
  otherwise: 'one per registry and verb, in the place the platform has for data'
} satisfies Flag

/** Of the verbs that connect to services. */
export const DIRECT_FLAG = {
  describe: 'Which addresses to connect to by TCP, beside the DHT: off, lan or any',
  otherwise: 'any, as the services say'
} satisfies Flag

export const JSON_FLAG = { kind: 'switch', describe: 'Print JSON' } satisfies Flag

export const FORWARD_FLAG = {
  describe: 'Whether letters between others are passed on: on or off',
  otherwise: 'on'
} satisfies Flag

/** What it says, undefined if it says nothing. */
export function forwardOption(settings: Settings): boolean | undefined {
  const word = settings.word('forward', ['on', 'off'], undefined)
  return word === undefined ? undefined : word === 'on'
}

export const REGISTRY_PUBLIC_KEY_FLAG = {
  describe: 'The registry, its public key or @file',
  needed: "what 'hyperseaport registry' printed"
} satisfies Flag

export function bootstrapOf(settings: Settings): string | undefined {
  const nodes = settings.list('bootstrap')
  return nodes.length > 0 ? nodes.join(',') : undefined
}

export function networkOptions(settings: Settings) {
  return {
    bootstrap: bootstrapOf(settings),
    host: settings.text('host', undefined)
  }
}
