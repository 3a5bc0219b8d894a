import type { Running } from '../../bin/cli.js'
import type { Site } from '../sites.js'
import { Actor, type ActorOptions, type Deed } from './actor.js'

export interface ProgramOptions extends ActorOptions {
  site: Site
  /** Starts it for the nth time, and waits until it is there. */
  launch: (life: number) => Promise<Running>
  /** Whether it is started once for all, and at worst frozen. */
  isLasting?: boolean
  /** Whether it is only ever killed. */
  isKilled?: boolean
}

/** A process that is started, stopped, killed and frozen. */
export class Program extends Actor {
  readonly site: Site
  running: Running | null = null
  /** How often it was started. */
  lives = 0
  protected readonly deeds: { [name: string]: Deed }
  readonly #launch: ProgramOptions['launch']
  #linesRead = 0

  constructor({ site, launch, isLasting = false, isKilled = false, ...options }: ProgramOptions) {
    super(options)
    this.site = site
    this.#launch = launch
    const often = isLasting ? 0 : 1
    const gently = isKilled ? 0 : 1
    this.deeds = {
      start: { from: 'down', to: 'up', weight: 1, act: () => this.start() },
      stop: { from: 'up', to: 'down', weight: often * gently, act: () => this.#end('SIGTERM') },
      kill: { from: 'up', to: 'down', weight: often * 2, act: () => this.#end('SIGKILL') },
      freeze: { from: 'up', to: 'frozen', weight: gently, act: () => this.#signal('SIGSTOP') },
      thaw: { from: 'frozen', to: 'up', weight: 2, act: () => this.#signal('SIGCONT') },
      'kill frozen': { from: 'frozen', to: 'down', weight: often, act: () => this.#end('SIGKILL') }
    }
  }

  protected async start() {
    this.#linesRead = 0
    this.lives++
    this.running = await this.#launch(this.lives)
  }

  /** What it printed in its present life since this was asked before. */
  news(): string[] {
    const news = this.running?.lines.stdout.slice(this.#linesRead) ?? []
    this.#linesRead += news.length
    return news
  }

  #signal(name: NodeJS.Signals) {
    if (this.running) process.kill(this.running.pid, name)
  }

  async #end(name: NodeJS.Signals) {
    await this.running?.kill(name)
    this.running = null
  }
}
