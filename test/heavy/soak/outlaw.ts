import type { Running } from '../../bin/cli.js'

/** A process that tries what it may not do, and what came of it. */
export class Outlaw {
  readonly name: string
  readonly running: Running
  /** What it last told of its attempts. */
  tried = ''
  #linesRead = 0
  #isMourned = false

  constructor(name: string, running: Running) {
    this.name = name
    this.running = running
  }

  /** @returns what it got, in words */
  read(): string[] {
    const news = this.running.lines.stdout.slice(this.#linesRead)
    this.#linesRead += news.length
    this.tried = news.findLast((line) => line.startsWith('tried '))?.slice(6) ?? this.tried
    const got = news.filter((line) => line.startsWith('got '))
    if (this.running.hasEnded && !this.#isMourned) {
      this.#isMourned = true
      got.push(`ended: ${this.running.lines.stderr.join(' ')}`)
    }
    return got.map((line) => `the ${this.name} ${line}`)
  }
}
