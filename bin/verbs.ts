import type { Command } from './command.js'
import type { SUMMARIES } from './summaries.js'

/** Loads each verb when it is asked for. The first is the one that a command line without a verb means. */
const LOADERS: Record<keyof typeof SUMMARIES, () => Promise<Command>> = {
  registry: async () => (await import('./commands/registry.js')).registry,
  service: async () => (await import('./commands/service.js')).service,
  proxy: async () => (await import('./commands/proxy.js')).proxy,
  web: async () => (await import('./commands/web.js')).web,
  host: async () => (await import('./commands/host.js')).host,
  hosts: async () => (await import('./commands/hosts.js')).hosts,
  drain: async () => (await import('./commands/drain.js')).drain,
  app: async () => (await import('./commands/app.js')).app,
  list: async () => (await import('./commands/list.js')).list,
  watch: async () => (await import('./commands/watch.js')).watch,
  call: async () => (await import('./commands/call.js')).call,
  listen: async () => (await import('./commands/listen.js')).listen,
  state: async () => (await import('./commands/state.js')).state,
  send: async () => (await import('./commands/send.js')).send,
  inbox: async () => (await import('./commands/inbox.js')).inbox,
  peer: async () => (await import('./commands/peer.js')).peer,
  inspect: async () => (await import('./commands/inspect.js')).inspect,
  seed: async () => (await import('./commands/seed.js')).seed,
  key: async () => (await import('./commands/key.js')).key,
  grant: async () => (await import('./commands/grant.js')).grant,
  revoke: async () => (await import('./commands/revoke.js')).revoke,
  grants: async () => (await import('./commands/grants.js')).grants,
  registrars: async () => (await import('./commands/registrars.js')).registrars,
  export: async () => (await import('./commands/export.js')).exportRegistry,
  import: async () => (await import('./commands/import.js')).importRegistry,
  access: async () => (await import('./commands/access.js')).access,
  bootstrap: async () => (await import('./commands/bootstrap.js')).bootstrap,
  demo: async () => (await import('./commands/demo.js')).demo
}

export const VERBS = Object.keys(LOADERS)
export const DEFAULT_VERB = 'registry'

/** @returns null if there is no such verb */
export async function loadVerb(verb: string): Promise<Command | null> {
  return Object.hasOwn(LOADERS, verb) ? LOADERS[verb as keyof typeof LOADERS]() : null
}

/** All of them, in the order of the help. */
export function loadVerbs(): Promise<Command[]> {
  return Promise.all(Object.values(LOADERS).map((load) => load()))
}
