import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { SeaportError } from '../../core/errors.js'
import { asUser } from './app-users.js'
import { Cgroups, endGroup, hasRunOut, memoryOf } from './cgroups.js'
import type { Abilities, Driver, Ending, Kept, Running, StartTerms, Usage } from './driver.js'
import { guardGroup } from './guard.js'
import { bootId, signalTo, statOf } from './proc.js'

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const PIDS = 512
const LOG_MODE = 0o640
/** How often a process that we did not start is polled, in ms: the kernel tells only a parent that it has ended. */
const POLL_MS = 200
const KIB = 1024

/**
 * A shell script that joins the cgroups and then becomes the program, so that nothing of it runs outside of them. Where
 * there are no groups it limits the data of each process instead. (With a limit of the address space Node would not
 * start.) One that is bound to the host waits for its word, so that it never runs without its guard.
 */
const WRAPPER = `
bound=$1; groups=$2; data=$3; shift 3
if [ "$bound" = 1 ]; then read -r word || exit 126; exec </dev/null; fi
while [ "$groups" -gt 0 ]; do echo $$ > "$1/cgroup.procs" || exit 126; shift; groups=$((groups - 1)); done
[ "$data" = 0 ] || ulimit -d "$data" || exit 126
exec "$@"
`

/**
 * Runs instances as processes of this machine. They do not depend on this process: each leads a process group of its
 * own, and writes its output to a file by itself. So the host can be stopped and started again. It finds them by pid
 * and start time, since the pid may be another process's by then.
 */
export class ProcessDriver implements Driver {
  readonly name = 'process'
  readonly #needsUser: boolean
  #cgroups: Promise<Cgroups> | null = null

  /** @param needsUser whether nothing is run as the host's own user */
  constructor({ needsUser = false }: { needsUser?: boolean } = {}) {
    this.#needsUser = needsUser
  }

  async available(): Promise<Abilities> {
    if (process.platform !== 'linux') {
      throw SeaportError.UNSUPPORTED_DEPENDENCY('processes of apps are run on Linux only')
    }
    return { limits: (await this.#groups()).controllers, users: mayChangeUser() }
  }

  async start(terms: StartTerms): Promise<Running> {
    const {
      name,
      command,
      folder,
      data,
      env,
      log,
      memory,
      cpu = null,
      pids = PIDS,
      uid = null,
      isBound = false
    } = terms
    if (!command[0] || !/^[a-z0-9][a-z0-9-]{0,100}$/.test(name)) {
      throw SeaportError.USAGE('which command is to be run, under which name?')
    }
    if (this.#needsUser && uid === null) {
      throw SeaportError.COMMAND_FAILED('it has no user of its own, and nothing runs as the host')
    }
    const groups = await this.#groups()
    const cgroups = await groups.make(name, { memory, cpu, pids })
    const limit = memory > 0 && !groups.controllers.includes('memory') ? Math.ceil(memory / KIB) : 0
    const words = [...(uid === null ? [] : asUser(uid)), ...command]
    const file = await open(log, 'a', LOG_MODE).catch((error) => {
      throw SeaportError.STORAGE_FAILED(`its output cannot be written: ${error.message}`, error)
    })
    try {
      // So that it may open its own output by its name, too, as in /dev/stdout.
      if (uid !== null) await file.chown(uid, uid)
      const numbers = [Number(isBound), cgroups.length, limit].map(String)
      const args = ['-c', WRAPPER, 'sh', ...numbers, ...cgroups, ...words]
      const child = spawn('/bin/sh', args, {
        cwd: folder,
        env: { PATH: `${PATH}:${dirname(process.execPath)}`, HOME: data, ...env },
        stdio: [isBound ? 'pipe' : 'ignore', file.fd, file.fd],
        detached: true
      })
      await started(child)
      child.unref()
      const pid = child.pid as number
      const ticks = (await statOf(pid))?.ticks ?? ''
      const running = new RunningProcess({ pid, ticks, boot: await bootId(), cgroups }, child)
      if (isBound) await bind(running, child)
      return running
    } finally {
      await file.close()
    }
  }

  async adopt(kept: Kept): Promise<Running | null> {
    if (await isAlive(kept)) return new RunningProcess(kept, null)
    // After another boot these groups are gone, and others may have the same names.
    if (kept.boot === (await bootId())) await Promise.all(kept.cgroups.map(endGroup))
    return null
  }

  #groups(): Promise<Cgroups> {
    this.#cgroups ??= Cgroups.find()
    return this.#cgroups
  }
}

class RunningProcess implements Running {
  readonly kept: Kept
  readonly ended: Promise<Ending>

  constructor(kept: Kept, child: ChildProcess | null) {
    this.kept = kept
    this.ended = this.#end(child)
  }

  signal(signal: NodeJS.Signals) {
    void isAlive(this.kept).then((isThere) => isThere && signalTo(-this.kept.pid, signal))
  }

  async kill() {
    if (await isAlive(this.kept)) signalTo(-this.kept.pid, 'SIGKILL')
    await Promise.all(this.kept.cgroups.map(endGroup))
    await this.ended
  }

  async usage(): Promise<Usage | null> {
    const stat = await statOf(this.kept.pid)
    if (stat?.ticks !== this.kept.ticks) return null
    for (const group of this.kept.cgroups) {
      const memory = await memoryOf(group)
      if (memory !== null) return { memory, cpu: stat.cpu }
    }
    return { memory: stat.memory, cpu: stat.cpu }
  }

  /** Never rejects. */
  async #end(child: ChildProcess | null): Promise<Ending> {
    const { code, signal } = child ? await exitOf(child) : await this.#endOfStranger()
    const isOutOfMemory = (await Promise.all(this.kept.cgroups.map(hasRunOut))).includes(true)
    // Processes that it has started and left behind end with it. If another process has the pid by now, there were
    // none: a pid is not reused while a group has its number.
    if ((await statOf(this.kept.pid)) === null) signalTo(-this.kept.pid, 'SIGKILL')
    await Promise.all(this.kept.cgroups.map(endGroup))
    return { code, signal, isOutOfMemory }
  }

  async #endOfStranger() {
    while (await isAlive(this.kept))
      await new Promise((resolve) => setTimeout(resolve, POLL_MS).unref())
    return { code: null, signal: null }
  }
}

/** Lets a program that waits for it run, now that it ends with this process. */
async function bind(running: Running, child: ChildProcess) {
  const { pid, cgroups } = running.kept
  const release = await guardGroup(pid, cgroups, () => void running.kill()).catch(async (error) => {
    await running.kill()
    throw SeaportError.COMMAND_FAILED(`it cannot be started: ${error.message}`, error)
  })
  void running.ended.then(release)
  child.stdin?.on('error', () => {})
  child.stdin?.end('go\n')
}

/** Whether the recorded process still runs. */
async function isAlive({ pid, ticks, boot }: Kept): Promise<boolean> {
  return (await statOf(pid))?.ticks === ticks && boot === (await bootId())
}

function started(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (error) =>
      reject(SeaportError.COMMAND_FAILED(`it cannot be started: ${error.message}`, error))
    )
  })
}

function exitOf(child: ChildProcess): Promise<{ code: number | null; signal: string | null }> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      return resolve({ code: child.exitCode, signal: child.signalCode })
    }
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
}

function mayChangeUser(): boolean {
  return process.getuid?.() === 0 && spawnSync('setpriv', ['--version']).status === 0
}
