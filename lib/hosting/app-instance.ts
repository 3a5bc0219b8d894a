import { EventEmitter } from 'node:events'
import { readFile, rm } from 'node:fs/promises'
import { Abort, type Signal } from '../core/abort.js'
import { SeaportError } from '../core/errors.js'
import { replaceFile } from '../core/replace-file.js'
import { startTimer } from '../core/timer.js'
import { connectBackend, localBackend } from '../serving/backend.js'
import { HealthCheck } from '../serving/health.js'
import { freePort } from '../serving/local-port.js'
import type { Driver, Ending, Kept, Running, StartTerms, Usage } from './driver/driver.js'

export interface AppInstanceOptions {
  driver: Driver
  /** What it is run with. The port is added to its environment as PORT. */
  terms: StartTerms
  /** The port that it listens on: 0 for a free one, null for none. */
  port: number | null
  /** `tcp`, `http:/path` or `none`. */
  check: string
  /** A file of its own, by which the host's next process finds the running program. */
  stateFile: string
  /** How long it may take to end when it is asked to, in ms. */
  grace?: number | undefined
  /** Waits before restarts, in ms, by how often it ended too early. */
  backoffs?: readonly number[] | undefined
  /** Between two checks, in ms. */
  checkInterval?: number | undefined
  random?: (() => number) | undefined
}

/** `failing`: its check fails, or it has ended and is started again. */
export type InstanceState = 'starting' | 'passing' | 'failing' | 'ending' | 'ended'

/** What is known only when it is started. */
export interface StartOptions {
  /** Variables beside those of its terms. */
  env?: Readonly<Record<string, string>>
  /** Whether a program that runs already may go on. Otherwise it is ended, and started anew. Default: true. */
  adopts?: boolean
  /** The user that it runs as. Default: that of the host. */
  uid?: number | null
  /** The port that it listens on, if it was chosen before. */
  port?: number | null
}

interface AppInstanceEvents {
  /** Its state or the reason of that has changed. */
  change: [state: InstanceState]
  /** It has ended by itself, and is started again after `restartIn` ms. */
  exit: [ending: Ending, restartIn: number]
}

/** The content of the state file. */
interface State {
  kept: Kept
  port: number | null
}

const BACKOFFS_MS = [100, 500, 1000, 2000, 5000, 10_000, 30_000]
const JITTER = 0.2
/** After it has passed for so long, its next end counts as the first one again, in ms. */
const STEADY_MS = 10_000
const GRACE_MS = 10_000
/** The time between two checks of an instance that does not pass yet, in ms. */
const POLL_MS = 100
/** How many early ends in a row count as a crash loop. */
const CRASH_LOOP = 5

/**
 * One instance of an app. It starts the program or finds it running, checks it, and starts it again when it ends. The
 * program outlives this process unless `stop` is called.
 */
export class AppInstance extends EventEmitter<AppInstanceEvents> {
  readonly stats = { starts: 0, exits: 0 }

  readonly #options: AppInstanceOptions
  readonly #abort = new Abort()
  #state: InstanceState = 'starting'
  #reason: string | null = null
  /** How the run before this one ended, if none has passed since. */
  #lastEnd: string | null = null
  #passingSince: number | null = null
  #failingSince: number | null = performance.now()
  #port: number | null
  #running: Running | null = null
  /** What an earlier process of the host has started; null if that is gone. */
  #found: Promise<Running | null> | null = null
  #check: HealthCheck | null = null
  #earlyEnds = 0
  #living: Promise<void> | null = null
  #startOptions: StartOptions = {}
  #isLeft = false

  constructor(options: AppInstanceOptions) {
    super()
    this.#options = options
    this.#port = options.port
  }

  get state(): InstanceState {
    return this.#state
  }

  /** Why it does not pass, as people read it; null if it does. */
  get reason(): string | null {
    return this.#reason
  }

  /** For how long it has passed, in ms; 0 if it does not. */
  get passingFor(): number {
    return this.#passingSince === null ? 0 : performance.now() - this.#passingSince
  }

  /** For how long it has not passed, in ms; 0 if it passes. */
  get failingFor(): number {
    return this.#failingSince === null ? 0 : performance.now() - this.#failingSince
  }

  get isCrashLooping(): boolean {
    return this.#earlyEnds >= CRASH_LOOP
  }

  /** The port that it listens on; null for none, and 0 before it was started. */
  get port(): number | null {
    return this.#port
  }

  get pid(): number | null {
    return this.#running?.kept.pid ?? null
  }

  /** Finds the running program, or starts it. From then on events tell what becomes of it. */
  start(options: StartOptions = {}) {
    if (!this.#living) this.#startOptions = options
    this.#living ??= this.#live()
  }

  /**
   * Ends the program with SIGTERM, and after the grace with SIGKILL, be it that an earlier process of the host started it
   * and nobody has looked for it yet. It is not started again.
   */
  async stop(grace = this.#options.grace ?? GRACE_MS) {
    this.#abort.abort(SeaportError.CLOSED('the instance was stopped'))
    this.#set('ending')
    this.#found ??= this.#find()
    const running = this.#running ?? (await this.#found)
    if (running && !this.#isLeft) {
      running.signal('SIGTERM')
      const timer = startTimer(() => void running.kill(), grace)
      await running.ended
      clearTimeout(timer)
    }
    await this.#living
    if (!this.#isLeft) await this.#forget()
    this.#set('ended')
  }

  /** Stops supervising the program, and lets it run. The host's next process finds it by its file. */
  async leave() {
    this.#isLeft = true
    this.#abort.abort(SeaportError.CLOSED('the instance was left'))
    await this.#living
  }

  /** The memory and CPU time that it uses; null if it does not run. */
  async usage(): Promise<Usage | null> {
    return (await this.#running?.usage()) ?? null
  }

  /** Never rejects. */
  async #live() {
    this.#found = this.#find()
    let running = await this.#found
    while (!this.#abort.aborted) {
      running ??= await this.#spawn()
      if (running) await this.#watch(running)
      else await this.#wait(this.#backoff())
      running = null
    }
  }

  async #find(): Promise<Running | null> {
    const state = await readState(this.#options.stateFile)
    if (!state) return null
    const running = await this.#options.driver.adopt(state.kept)
    if (this.#startOptions.adopts === false) {
      await running?.kill()
      return null
    }
    if (running) this.#port = state.port
    return running
  }

  /** Null if it could not be started; the state says why. */
  async #spawn(): Promise<Running | null> {
    const { driver, terms } = this.#options
    const { uid = null, port = this.#options.port } = this.#startOptions
    try {
      this.#port = port === null ? null : await freePort(port)
      const env = { ...terms.env, ...this.#startOptions.env }
      if (this.#port !== null) env.PORT = `${this.#port}`
      const running = await driver.start({ ...terms, env, uid }, (kept) =>
        writeState(this.#options.stateFile, { kept, port: this.#port })
      )
      this.stats.starts++
      return running
    } catch (error) {
      this.#set('failing', (error as Error).message)
      return null
    }
  }

  /** Follows one run of the program to its end, and through the wait after it. */
  async #watch(running: Running) {
    this.#running = running
    if (this.#abort.aborted && !this.#isLeft) await running.kill()
    let hasEnded = false
    const ended = running.ended.then((ending) => {
      hasEnded = true
      this.#check?.stop()
      return ending
    })
    void this.#checkUntil(() => hasEnded)
    const ending = await Promise.race([ended, this.#left()])
    this.#check?.stop()
    if (ending === null) return
    this.#running = null
    this.stats.exits++
    if (this.passingFor > STEADY_MS) this.#earlyEnds = 0
    this.#passingSince = null
    this.#failingSince ??= performance.now()
    if (this.#abort.aborted) return
    await this.#forget()
    const restartIn = this.#backoff()
    this.#lastEnd = endingText(ending)
    this.#set('failing', this.#lastEnd)
    this.emit('exit', ending, restartIn)
    await this.#wait(restartIn)
  }

  /** Waits until it passes, and from then on follows its check. Never rejects. */
  async #checkUntil(isOver: () => boolean) {
    const { check, checkInterval } = this.#options
    const port = this.#port
    if (port === null) return this.#set('passing')
    const connect = (options: { signal: Signal }) => connectBackend(localBackend(port), options)
    const health = new HealthCheck({ connect, check, checkInterval })
    this.#check = health
    while (!isOver() && !this.#abort.aborted) {
      const { health: found, reason } = await health.start()
      if (isOver() || this.#abort.aborted) break
      if (found === 'passing') {
        health.on('change', (state, why) => this.#set(state, why?.text ?? null))
        return this.#set('passing')
      }
      health.stop()
      const state = this.#state === 'failing' ? 'failing' : 'starting'
      this.#set(state, this.#why(reason?.text ?? null))
      await this.#wait(POLL_MS)
    }
    health.stop()
  }

  #set(state: InstanceState, reason: string | null = null) {
    if (this.#abort.aborted && state !== 'ending' && state !== 'ended') return
    if (this.#state === state && this.#reason === reason) return
    if (state === 'passing') {
      this.#passingSince ??= performance.now()
      this.#failingSince = null
      this.#lastEnd = null
    } else {
      this.#passingSince = null
      this.#failingSince ??= performance.now()
    }
    this.#state = state
    this.#reason = reason
    this.emit('change', state)
  }

  /** Of a program that was started anew, what its check finds says less than how it ended. */
  #why(found: string | null): string | null {
    if (this.#lastEnd === null) return found
    return found === null ? this.#lastEnd : `${found}; before that, ${this.#lastEnd}`
  }

  #backoff(): number {
    const { backoffs = BACKOFFS_MS, random = Math.random } = this.#options
    const step = Math.min(this.#earlyEnds++, backoffs.length - 1)
    return Math.round((backoffs[step] ?? 0) * (1 + JITTER * random()))
  }

  async #forget() {
    await rm(this.#options.stateFile, { force: true }).catch(() => {})
  }

  /** Resolves with null when `leave` is called. */
  #left(): Promise<null> {
    return new Promise((resolve) => {
      const onabort = () => this.#isLeft && resolve(null)
      if (this.#abort.aborted) onabort()
      else this.#abort.addEventListener('abort', onabort)
    })
  }

  /** Waits. It ends early when the instance is stopped or left. */
  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#abort.aborted) return resolve()
      const done = () => {
        clearTimeout(timer)
        this.#abort.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      this.#abort.addEventListener('abort', done)
    })
  }
}

/** How a program ended, for people to read. */
export function endingText({ code, signal, isOutOfMemory }: Ending): string {
  if (isOutOfMemory) return 'it was killed because it used more memory than it may'
  if (signal !== null) return `it was ended by ${signal}`
  return code === null ? 'it has ended' : `it ended with exit code ${code}`
}

async function readState(path: string): Promise<State | null> {
  try {
    const { kept, port } = JSON.parse(await readFile(path, 'utf8'))
    const { pid, ticks, boot, cgroups } = kept
    const isWhole = Number.isInteger(pid) && pid > 1 && typeof ticks === 'string'
    return isWhole && typeof boot === 'string' && Array.isArray(cgroups) ? { kept, port } : null
  } catch {
    return null
  }
}

async function writeState(path: string, state: State) {
  await replaceFile(path, JSON.stringify(state))
}
