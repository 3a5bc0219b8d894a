import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { open } from 'node:fs/promises'
import type { Duplex, Writable } from 'node:stream'
import { SeaportError } from '../../core/errors.js'
import { guardGroup } from '../../core/guard.js'
import { asUser } from './app-users.js'
import { Cgroups, endGroup, hasRunOut, memoryOf } from './cgroups.js'
import {
  type Abilities,
  type Driver,
  type Ending,
  type Kept,
  PROCESS,
  type Running,
  type StartTerms,
  type Usage
} from './driver.js'
import { handedEnvironment, PATH, takingEnvironment } from './handed-environment.js'
import { bootId, signalTo, statOf } from './proc.js'
import { inSandbox, programIn, whyNoSandbox } from './sandbox.js'

const PIDS = 512
const LOG_MODE = 0o640
/** How often a process that we did not start is polled, in ms: the kernel tells only a parent that it has ended. */
const POLL_MS = 200
/** How often one that is ending is looked for, in ms. */
const END_POLL_MS = 10
const END_ROUNDS = 500
const KIB = 1024

/**
 * A shell script that joins the cgroups and then becomes the program, so that nothing of it runs outside of them. Where
 * there are no groups it limits the data of each process instead. (With a limit of the address space Node would not
 * start.) It waits for the host's word first, and ends if that does not come: nothing runs without its guard, or without
 * what the host finds it by.
 */
const WRAPPER = `
groups=$1; data=$2; shift 2
read -r word || exit 126; exec </dev/null
while [ "$groups" -gt 0 ]; do echo $$ > "$1/cgroup.procs" || exit 126; shift; groups=$((groups - 1)); done
[ "$data" = 0 ] || ulimit -d "$data" || exit 126
exec "$@"
`

export interface ProcessDriverOptions {
  /** Whether nothing is run as the host's own user. */
  needsUser?: boolean
  /** Refuses what is not in a sandbox. */
  needsSandbox?: boolean
  /** The host's folder, of which what is shut in sees nothing but its own. */
  dir?: string | null
  /** Whether cgroups are used where they can be made. Default: yes. */
  cgroups?: boolean
}

/**
 * Runs instances as processes of this machine. They do not depend on this process: each leads a process group of its
 * own, and writes its output to a file by itself. So the host can be stopped and started again. It finds them by pid
 * and start time, since the pid may be another process's by then.
 */
export class ProcessDriver implements Driver {
  readonly name = PROCESS
  readonly #needsUser: boolean
  readonly #needsSandbox: boolean
  readonly #dir: string | null
  readonly #usesCgroups: boolean
  #cgroups: Promise<Cgroups> | null = null
  #noSandbox: Promise<string | null> | null = null

  constructor(options: ProcessDriverOptions = {}) {
    const { needsUser = false, needsSandbox = false, dir = null, cgroups = true } = options
    this.#needsUser = needsUser
    this.#needsSandbox = needsSandbox
    this.#dir = dir
    this.#usesCgroups = cgroups
  }

  async available(): Promise<Abilities> {
    if (process.platform !== 'linux') {
      throw SeaportError.UNSUPPORTED_DEPENDENCY('processes of apps are run on Linux only')
    }
    const limits = (await this.#groups()).controllers
    return { limits, users: mayChangeUser(), noSandbox: await this.#whyNoSandbox() }
  }

  async start(terms: StartTerms, keep = async (_kept: Kept) => {}): Promise<Running> {
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
      isBound = false,
      sandbox = false,
      mayWrite = false
    } = terms
    if (!command[0] || !/^[a-z0-9][a-z0-9-]{0,100}$/.test(name)) {
      throw SeaportError.USAGE('which command is to be run, under which name?')
    }
    if (this.#needsUser && uid === null) {
      throw SeaportError.COMMAND_FAILED('it has no user of its own, and nothing runs as the host')
    }
    await this.#checkSandbox(sandbox)
    const groups = await this.#groups()
    const cgroups = await groups.make(name, { memory, cpu, pids })
    const limit = memory > 0 && !groups.controllers.includes('memory') ? Math.ceil(memory / KIB) : 0
    const own = { PATH, HOME: data, ...env }
    // What runs before the program has more rights than it then, so it must not have the program's environment.
    const dropsRights = uid !== null || sandbox
    const shut = { folder, mayWrite, data, hidden: this.#dir, changesUser: uid !== null, isBound }
    const words = [
      ...(sandbox ? inSandbox(shut) : []),
      ...(uid === null ? [] : asUser(uid)),
      ...(dropsRights ? takingEnvironment(own, command, sandbox) : command)
    ]
    const file = await open(log, 'a', LOG_MODE).catch((error) => {
      throw SeaportError.STORAGE_FAILED(`its output cannot be written: ${error.message}`, error)
    })
    try {
      // So that it may open its own output by its name, too, as in /dev/stdout.
      if (uid !== null) await file.chown(uid, uid)
      const numbers = [cgroups.length, limit].map(String)
      const args = ['-c', WRAPPER, 'sh', ...numbers, ...cgroups, ...words]
      const child = spawn('/bin/sh', args, {
        cwd: folder,
        env: dropsRights ? { PATH, ...handedEnvironment(own) } : own,
        stdio: ['pipe', file.fd, file.fd, ...(sandbox ? ['pipe' as const] : [])],
        detached: true
      })
      await started(child)
      child.unref()
      const release = isBound ? await guarded(child, cgroups) : null
      // In a sandbox the program waits once more, since only there it can be found.
      if (sandbox) sayGo(child.stdin)
      const kept = { ...(await keptOf(child, sandbox)), boot: await bootId(), cgroups }
      const running = new RunningProcess(kept, child)
      if (release) void running.ended.then(release)
      await keep(kept).catch(async (error) => {
        await running.kill()
        throw error
      })
      sayGo(sandbox ? (child.stdio[3] as Duplex) : child.stdin)
      return running
    } finally {
      await file.close()
    }
  }

  async adopt(kept: Kept): Promise<Running | null> {
    if (await isAlive(kept)) return new RunningProcess(kept, null)
    // After another boot these groups are gone, and others may have the same names.
    if (kept.boot !== (await bootId())) return null
    await endSandbox(kept)
    await Promise.all(kept.cgroups.map(endGroup))
    return null
  }

  /** @throws COMMAND_FAILED */
  async #checkSandbox(sandbox: boolean) {
    if (!sandbox && this.#needsSandbox) {
      throw SeaportError.COMMAND_FAILED('it asks for no sandbox, and nothing runs without one here')
    }
    const why = sandbox ? await this.#whyNoSandbox() : null
    if (why !== null) throw SeaportError.COMMAND_FAILED(`it asks for a sandbox, and ${why}`)
  }

  #whyNoSandbox(): Promise<string | null> {
    this.#noSandbox ??= whyNoSandbox()
    return this.#noSandbox
  }

  #groups(): Promise<Cgroups> {
    this.#cgroups ??= this.#usesCgroups ? Cgroups.find() : Promise.resolve(Cgroups.none)
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
    void isAlive(this.kept).then((isThere) => isThere && signalTo(-leaderOf(this.kept), signal))
  }

  async kill() {
    if (await isAlive(this.kept)) signalTo(-leaderOf(this.kept), 'SIGKILL')
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
    if (this.kept.leader) await endSandbox(this.kept)
    else if ((await statOf(this.kept.pid)) === null) signalTo(-this.kept.pid, 'SIGKILL')
    await Promise.all(this.kept.cgroups.map(endGroup))
    return { code, signal, isOutOfMemory }
  }

  async #endOfStranger() {
    while (await isAlive(this.kept))
      await new Promise((resolve) => setTimeout(resolve, POLL_MS).unref())
    return { code: null, signal: null }
  }
}

/**
 * Sees to it that a program ends with this process.
 *
 * @returns what ends its guard
 */
async function guarded(child: ChildProcess, cgroups: readonly string[]): Promise<() => void> {
  const pid = child.pid as number
  const kill = async () => {
    if (child.exitCode === null && child.signalCode === null) signalTo(-pid, 'SIGKILL')
    await Promise.all(cgroups.map(endGroup))
  }
  return guardGroup(pid, cgroups, () => void kill()).catch(async (error) => {
    await kill()
    throw SeaportError.COMMAND_FAILED(`it cannot be started: ${error.message}`, error)
  })
}

/** Lets a program run that waits for a word. */
function sayGo(waiting: Writable | null) {
  // It may have ended instead.
  waiting?.on('error', () => {})
  waiting?.end('go\n')
}

/** What finds the program of a child again: the child itself, or one that runs in its sandbox. */
async function keptOf(
  child: ChildProcess,
  sandbox: boolean
): Promise<Pick<Kept, 'pid' | 'ticks' | 'leader'>> {
  const pid = child.pid as number
  const ticksOf = async (one: number) => ({ pid: one, ticks: (await statOf(one))?.ticks ?? '' })
  if (!sandbox) return ticksOf(pid)
  const found = await programIn(pid, child.stdio[3] as Duplex)
  if (!found) return ticksOf(pid)
  return { ...(await ticksOf(found.program)), leader: await ticksOf(found.leader) }
}

/** The process that leads the group of a program. */
function leaderOf({ pid, leader }: Kept): number {
  return leader?.pid ?? pid
}

/** Ends all that is in a sandbox, or as much as can be ended. The leader is the last one of them that is there. */
async function endSandbox({ leader, boot }: Kept) {
  if (!leader) return
  const isThere = () => isAlive({ ...leader, boot })
  if (await isThere()) signalTo(leader.pid, 'SIGKILL')
  for (let round = 0; round < END_ROUNDS && (await isThere()); round++) {
    await new Promise((resolve) => setTimeout(resolve, END_POLL_MS))
  }
}

/** Whether the recorded process still runs. */
async function isAlive({ pid, ticks, boot }: Pick<Kept, 'pid' | 'ticks' | 'boot'>) {
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
