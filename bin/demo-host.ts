import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** A machine that runs apps, played by a process of this program and by the apps that it starts. */
export class DemoHost {
  readonly name: string
  readonly #words: string[]
  #child: ChildProcess | null = null

  /** @param flags where it finds the registry, and its folder */
  constructor(name: string, flags: string[]) {
    this.name = name
    const own = ['--name', name, '--minFree', '0', '--drainTimeout', '1', '--stopApps']
    this.#words = [process.argv[1] ?? '', 'host', ...own, ...flags]
  }

  /**
   * Resolves when it is registered.
   *
   * @throws an Error with what it has said, if it ends before
   */
  async start() {
    const child = spawn(process.execPath, this.#words, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    let said = ''
    child.stderr.on('data', (bytes: Buffer) => {
      said += bytes
    })
    for await (const line of createInterface(child.stdout)) {
      if (line !== 'registered host') continue
      // It goes on to write, and waits if nobody reads that.
      child.stdout.resume()
      return
    }
    throw new Error(`the host ${this.name} has ended: ${said}`)
  }

  /** Kills it with all that it runs, as when the machine loses its power. */
  async crash(pids: readonly number[]) {
    this.#child?.kill('SIGKILL')
    for (const pid of pids) killGroup(pid)
    await this.#ended()
  }

  /** Ends its apps, and then it. */
  async destroy() {
    this.#child?.kill('SIGTERM')
    await this.#ended()
  }

  async #ended() {
    const child = this.#child
    if (child && child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  }
}

function killGroup(pid: number) {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}
