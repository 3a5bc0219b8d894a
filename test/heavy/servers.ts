import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { freePort } from '../../lib/serving/local-port.js'
import { certify } from '../openssl.js'

/** Whom each of the servers lets in. */
export const USER = 'tester'
export const PASSWORD = 'a password'
/** The user `nobody`, and its group: PostgreSQL refuses to run as root. */
const NOBODY = 65534
const POSTGRES = '/usr/lib/postgresql'
const MARIADB_TABLES = '/usr/share/mysql/mysql_system_tables.sql'

/** Why a server cannot be run here, or false. */
export function noServer(...programs: string[]): string | false {
  const missing = programs.find((program) => pathOf(program) === null)
  return missing ? `there is no ${missing} on this machine` : false
}

/** PostgreSQL, with TLS, in a folder of its own. Returns its port. */
export async function postgres(t: Test): Promise<number> {
  const server = new Server(t)
  const { dir } = server
  writeFileSync(join(dir, 'password'), PASSWORD)
  const data = join(dir, 'data')
  const rights = ['-U', USER, '--auth=scram-sha-256', `--pwfile=${join(dir, 'password')}`]
  server.run('initdb', ['-D', data, ...rights, '--no-sync', '--encoding=UTF8', '--locale=C'])
  certify('localhost', join(dir, 'cert'), join(dir, 'key'))
  server.own('cert', 'key')
  const port = await freePort(0)
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    fsync: 'off',
    ssl: 'on',
    ssl_cert_file: join(dir, 'cert'),
    ssl_key_file: join(dir, 'key')
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  await server.start('postgres', ['-D', data, '-p', `${port}`, ...flags], 'ready to accept')
  return port
}

/** MariaDB, in a folder of its own. Returns its port. */
export async function mariadb(t: Test): Promise<number> {
  const server = new Server(t)
  const { dir } = server
  const place = ['--no-defaults', `--datadir=${join(dir, 'data')}`]
  mkdirSync(join(dir, 'data'))
  writeFileSync(
    join(dir, 'init'),
    `CREATE DATABASE test;\nGRANT ALL ON *.* TO '${USER}'@'127.0.0.1' IDENTIFIED BY '${PASSWORD}';\n`
  )
  server.own('data', 'init')
  // What mariadb-install-db does, which wants more programs than the server's package has.
  const tables = readFileSync(MARIADB_TABLES, 'utf8')
  server.run('mariadbd', [...place, '--bootstrap'], `CREATE DATABASE mysql;\nUSE mysql;\n${tables}`)
  const port = await freePort(0)
  const flags = {
    port,
    'bind-address': '127.0.0.1',
    socket: join(dir, 'socket'),
    'pid-file': join(dir, 'pid'),
    'init-file': join(dir, 'init'),
    'max-allowed-packet': '64M'
  }
  const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`)
  const ready = 'ready for connections'
  await server.start('mariadbd', [...place, '--skip-name-resolve', ...args], ready)
  return port
}

/** Redis, which keeps nothing. Returns its port. */
export async function redis(t: Test): Promise<number> {
  const server = new Server(t)
  const port = await freePort(0)
  const flags = { port, bind: '127.0.0.1', save: '', dir: server.dir, requirepass: PASSWORD }
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, `${value}`])
  await server.start('redis-server', args, 'Ready to accept')
  return port
}

/** One program in a folder of its own, by a user that is not root. Both are gone at the test's end. */
class Server {
  readonly dir = mkdtempSync(join(tmpdir(), 'hyperseaport-server-'))
  readonly #t: Test
  readonly #as: SpawnOptions = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}

  constructor(t: Test) {
    this.#t = t
    if (this.#as.uid) chownSync(this.dir, NOBODY, NOBODY)
    t.teardown(() => rmSync(this.dir, { recursive: true, force: true }))
  }

  /** Gives it what this process made in its folder. */
  own(...names: string[]) {
    if (this.#as.uid) for (const name of names) chownSync(join(this.dir, name), NOBODY, NOBODY)
  }

  /** Waits for a program that prepares the folder. */
  run(program: string, args: string[], input = '') {
    const { dir: cwd } = this
    execFileSync(pathOf(program) ?? program, args, { ...this.#as, cwd, input, stdio: 'pipe' })
  }

  /** Runs a program until the test's end, and waits until it has said that it is ready. */
  async start(program: string, args: string[], ready: string) {
    const child: ChildProcess = spawn(pathOf(program) ?? program, args, {
      ...this.#as,
      cwd: this.dir,
      stdio: ['ignore', 'pipe', 'pipe']
    })
    const ended = once(child, 'exit')
    this.#t.teardown(async () => {
      child.kill('SIGKILL')
      await ended
    })
    const said: string[] = []
    await new Promise<void>((resolve, reject) => {
      for (const output of [child.stdout, child.stderr]) {
        if (!output) continue
        createInterface(output).on('line', (line) => {
          said.push(line)
          if (line.includes(ready)) resolve()
        })
      }
      ended.then(() => reject(new Error(`${program} ended: ${said.join('\n')}`)), reject)
    })
  }
}

/** Debian keeps PostgreSQL's programs away from where programs are looked for. */
function pathOf(program: string): string | null {
  const places = (process.env.PATH ?? '').split(delimiter)
  const versions = existsSync(POSTGRES) ? readdirSync(POSTGRES) : []
  const all = [...places, '/usr/sbin', ...versions.map((name) => join(POSTGRES, name, 'bin'))]
  return all.map((place) => join(place, program)).find(existsSync) ?? null
}
