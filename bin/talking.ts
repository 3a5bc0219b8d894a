import { isUtf8 } from 'node:buffer'
import { buffer as readAll } from 'node:stream/consumers'
import { readSmallFile, SeaportError, whyUnread } from '../lib/identity.js'
import type { PortlessEntry } from '../lib/index.js'
import { DIRECT_REACHES } from '../lib/options.js'
import { MAX_MESSAGE_BYTES, messageIn } from './bounded.js'
import { decodeText } from './config.js'
import type { Flag } from './declaration.js'
import {
  COMMON_FLAGS,
  DIR_FLAG,
  DIRECT_FLAG,
  NETWORK_FLAGS,
  networkOptions,
  REGISTRY_PUBLIC_KEY_FLAG
} from './flags.js'
import type { Lifetime } from './lifetime.js'
import { expandHome, type Settings } from './settings.js'
import { shownKey } from './shown-key.js'
import { say, waitAloud } from './talk.js'

/** Flags of the verbs that talk with services. */
export const TALKING_FLAGS = {
  registryPublicKey: REGISTRY_PUBLIC_KEY_FLAG,
  direct: DIRECT_FLAG,
  dir: DIR_FLAG,
  ...NETWORK_FLAGS,
  ...COMMON_FLAGS
} satisfies Record<string, Flag>

/** The flag that says with whom. */
export const ROLE_FLAG = {
  alias: 'r',
  describe: 'Name and semver range',
  needed: 'the name and semver range of a service, as in agent@1.x'
} satisfies Flag

const STDIN = '-'
const SETUP_TIMEOUT_MS = 10_000
/** After one peer denied us: another may know of a newer grant. */
const DENIAL_TIMEOUT_MS = 1500

/**
 * A consumer that opens no ports, and its entries.
 *
 * @param timeout for the first instance of each, in ms
 */
export async function talkTo(
  roles: string[],
  settings: Settings,
  lifetime: Lifetime,
  { verb, timeout = SETUP_TIMEOUT_MS }: { verb: string; timeout?: number | undefined }
) {
  const registryPublicKey = settings.key('registryPublicKey')
  const verbose = settings.on('verbose')
  const { Consumer } = await import('../lib/consumer.js')
  const registry = await shownKey(registryPublicKey)
  const consumer = lifetime.own(
    Consumer(roles, {
      registryPublicKey,
      listen: false,
      direct: settings.word('direct', DIRECT_REACHES, undefined),
      dir: settings.path('dir', undefined),
      verb,
      serve: timeout === Infinity,
      timeout,
      ...(timeout < Infinity && { denialTimeout: DENIAL_TIMEOUT_MS }),
      ...networkOptions(settings)
    })
  )
  consumer.on('notice', (notice: Error) => {
    if (verbose || timeout === Infinity) say(notice.message)
  })
  const entries: readonly PortlessEntry[] = await waitAloud(
    consumer.setup(),
    () => `still searching for ${roles.join(', ') || 'the registry'} in ${registry}`
  )
  return { consumer, entries }
}

/** A key may be given by its beginning, as lists show it. */
export function keyOf(entry: PortlessEntry, text: string): string {
  const keys = entry.instances().map(({ servicePublicKey }) => servicePublicKey)
  const matching = keys.filter((key) => key.startsWith(text.toLowerCase()))
  if (matching.length === 1) return matching[0] as string
  throw SeaportError.NO_INSTANCE(
    matching.length === 0
      ? `${entry} has no instance ${text} now; it has ${keys.join(', ')}`
      : `${matching.length} instances of ${entry} begin with ${text}`
  )
}

/**
 * What is given as JSON, as the name of a file, or by stdin.
 *
 * @throws USAGE
 */
export async function dataOf(text: string | undefined, areBytes: boolean): Promise<unknown> {
  if (text === undefined) return undefined
  const isFile = text.startsWith('@')
  if (areBytes && !isFile && text !== STDIN) {
    throw SeaportError.USAGE('--bytes are of a @file or of stdin, -')
  }
  const bytes = isFile
    ? readFile(expandHome(text.slice(1)))
    : text === STDIN
      ? await readAll(messageIn(process.stdin))
      : Buffer.from(text)
  if (areBytes) return bytes
  const json = decodeText(bytes)
  // What is no text of either encoding would be sent as something else.
  if (!isUtf8(bytes) && json.includes('\uFFFD')) {
    throw SeaportError.USAGE('what is sent with a command is JSON in UTF-8; --bytes sends anything')
  }
  try {
    return JSON.parse(json)
  } catch (cause) {
    throw SeaportError.USAGE(
      `what is sent with a command is JSON, and a text has quotes: '"like this"' (${(cause as Error).message})`
    )
  }
}

function readFile(path: string): Buffer {
  try {
    return readSmallFile(path, { maxBytes: MAX_MESSAGE_BYTES })
  } catch (cause) {
    throw SeaportError.USAGE(`${path} cannot be read (${whyUnread(cause)})`)
  }
}
