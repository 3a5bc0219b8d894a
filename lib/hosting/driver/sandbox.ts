import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { access, readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Duplex } from 'node:stream'
import { onceAllowed } from '../../core/open-limit.js'
import { PATH } from './handed-environment.js'

/** What a program may see of the machine beside its own folders. It can change nothing of it. */
const SYSTEM = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32']
/** Names of users and hosts, certificates of authorities, and where libraries are: nothing that is secret. */
const SETTINGS = [
  ...['passwd', 'group', 'nsswitch.conf', 'hosts', 'host.conf', 'resolv.conf', 'gai.conf'],
  ...['protocols', 'services', 'localtime', 'timezone', 'mime.types', 'alternatives'],
  ...['ld.so.cache', 'ld.so.conf', 'ld.so.conf.d', 'ca-certificates', 'crypto-policies'],
  ...['ssl/certs', 'ssl/openssl.cnf', 'pki/tls/certs', 'pki/ca-trust/extracted']
].map((name) => `/etc/${name}`)
/** What `setpriv` needs to make the program another user's; it keeps none of it. */
const TO_CHANGE_USER = ['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP']

export interface SandboxTerms {
  /** The working folder, which is read-only unless it may be written. */
  folder: string
  mayWrite: boolean
  /** The one folder that may be written, and that is there afterwards. */
  data: string
  /** A folder of which nothing but these two may be seen; null if there is none. */
  hidden: string | null
  /** Whether another program makes it another user's before it runs. */
  changesUser: boolean
  /** Whether it ends with the process that starts it. */
  isBound: boolean
}

/**
 * What a command line begins with to be shut in by bubblewrap: in namespaces of its own, but for the network, with a
 * root folder in memory that has nothing of the host's files but what programs need. Folders are where they are
 * outside.
 */
export function inSandbox(terms: SandboxTerms): string[] {
  const { folder, mayWrite, data, hidden, changesUser, isBound } = terms
  const kept = changesUser ? TO_CHANGE_USER.flatMap((name) => ['--cap-add', name]) : []
  return [
    ...['bwrap', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try'],
    // Signals reach the program and not what waits for its end outside.
    ...['--new-session', ...(isBound ? ['--die-with-parent'] : [])],
    ...['--cap-drop', 'ALL', ...kept],
    ...[...SYSTEM, ...SETTINGS, ...ownNode()].flatMap(shown),
    ...['--proc', '/proc', '--ro-bind-try', '/proc/sys', '/proc/sys', '--dev', '/dev'],
    ...['/dev/shm', '/tmp', '/var/tmp'].flatMap((at) => [
      ...foldersTo(at),
      ...['--perms', '1777', '--tmpfs', at]
    ]),
    ...(hidden === null ? [] : [...foldersTo(hidden), '--tmpfs', hidden]),
    ...[...foldersTo(folder), mayWrite ? '--bind' : '--ro-bind', folder, folder],
    ...[...foldersTo(data), '--bind', data, data],
    ...['--remount-ro', '/', '--chdir', folder, '--']
  ]
}

/** Why nothing can be shut in here, for people to read; null if it can. */
export async function whyNoSandbox(): Promise<string | null> {
  const terms = { folder: '/usr', mayWrite: false, data: '/usr', hidden: null }
  const [program = '', ...words] = inSandbox({ ...terms, changesUser: false, isBound: false })
  const tried = spawnSync(program, [...words, 'true'], {
    encoding: 'utf8',
    cwd: '/',
    env: { PATH }
  })
  if (tried.error) return 'there is no bubblewrap (bwrap)'
  if (tried.status !== 0) return `bubblewrap does not work here: ${tried.stderr.trim()}`
  return access(childrenOf(process.pid)).then(
    () => null,
    () => 'the kernel does not list the children of processes'
  )
}

/**
 * Finds a program that was shut in.
 *
 * @param pid of the process that was started, which waits outside for its end
 * @param told a stream on which something comes when there is a process that becomes the program
 * @returns its pid, and that of the process with which everything in its sandbox ends; null if it could not be started
 */
export async function programIn(
  pid: number,
  told: Duplex
): Promise<{ program: number; leader: number } | null> {
  told.on('error', () => {})
  await Promise.race([once(told, 'data'), once(told, 'close')]).catch(() => {})
  const leader = await childOf(pid)
  const program = leader === null ? null : await childOf(leader)
  return leader === null || program === null ? null : { program, leader }
}

async function childOf(pid: number): Promise<number | null> {
  const text = await onceAllowed(() => readFile(childrenOf(pid), 'utf8')).catch(() => '')
  return Number(text.split(' ')[0]) || null
}

function childrenOf(pid: number): string {
  return `/proc/${pid}/task/${pid}/children`
}

/** Node may be elsewhere, with npm beside it. */
function ownNode(): string[] {
  const folder = dirname(process.execPath)
  if (SYSTEM.some((at) => folder.startsWith(`${at}/`))) return []
  if (basename(folder) !== 'bin') return [process.execPath]
  return [folder, join(folder, '../lib/node_modules')]
}

function shown(at: string): string[] {
  return [...foldersTo(at), '--ro-bind-try', at, at]
}

/** Makes the folders above a path, which other users could not enter if they were made with it. */
function foldersTo(at: string): string[] {
  const above = dirname(at)
  return above === '/' ? [] : [...foldersTo(above), '--dir', above]
}
