import asyncHooks from 'node:async_hooks'
import { readdirSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const TESTS = resolve(import.meta.dirname, '..')
const APART = ['heavy/', 'rooms/']

/**
 * The processes that `npm test` runs, and the tests in each, by the beginnings of their paths: the longest that
 * fits counts. A process for each file would take longer to start, and to load what it tests, than most of them
 * run. Those that take longest begin first. Each file can still be run by itself, with `npm run test:one`.
 */
export const ROOMS: Record<string, string[]> = {
  faces: [''],
  registrar: ['registry/registrar/'],
  messaging: ['messaging/'],
  mail: ['messaging/mail/'],
  link: ['link/'],
  network: ['core/network', 'core/lifecycle', 'core/reachability'],
  'bad-network': ['link/bad-network'],
  gateway: ['gateway/'],
  services: ['bin/services'],
  log: ['registry/log/', 'registry/replica/'],
  hosting: ['hosting/'],
  private: ['access-table', 'private', 'bin/instances'],
  'fast-path': ['gateway/fast-path/', 'gateway/channels/', 'gateway/foreign-answers'],
  http: ['http/', 'proxy/', 'registry/swarm/'],
  parts: ['core/', 'dashboard/', 'dialing/', 'registry/trust/', 'serving/'],
  usage: ['bin/'],
  docs: ['docs/', 'examples', 'fuzz', 'house', 'linter', 'threat-model']
}

/** Runs a room's tests in this process, one file after the other. */
export async function runRoom(room: string) {
  const files = testsOf(room)
  if (files.length === 0) throw new Error(`there are no tests of ${room}`)
  await loadTap()
  for (const file of files) await import(pathToFileURL(join(TESTS, file)).href)
}

/**
 * Loads tap without its hook on everything asynchronous. By that hook tap finds the test that an error belongs to
 * which nobody catches, at a tenth of all CPU time, since it notes each promise. Without it such an error ends the
 * room's process, which fails.
 */
async function loadTap() {
  const { createHook } = asyncHooks
  const none = { enable: () => none, disable: () => none }
  asyncHooks.createHook = () => none
  syncBuiltinESMExports()
  await import('tap')
  asyncHooks.createHook = createHook
  syncBuiltinESMExports()
}

export function testsOf(room: string): string[] {
  return readdirSync(TESTS, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.js') && !APART.some((folder) => file.startsWith(folder)))
    .filter((file) => roomOf(file) === room)
    .sort()
}

function roomOf(file: string): string | undefined {
  const fits = Object.entries(ROOMS).flatMap(([room, beginnings]) =>
    beginnings
      .filter((beginning) => file.startsWith(beginning))
      .map((beginning) => ({ room, length: beginning.length }))
  )
  return fits.sort((one, other) => other.length - one.length)[0]?.room
}
