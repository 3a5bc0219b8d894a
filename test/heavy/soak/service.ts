import { type KeyPair, toHex } from '../../../lib/core/keys.js'
import { Program, type ProgramOptions } from './program.js'

/** A service process. It says with a tag which of its lives it is in. */
export class ServiceProgram extends Program {
  readonly key: string
  /** When a registrar acknowledged it, last and in this life. */
  acknowledgedAt: number | null = null

  constructor({ keyPair, ...options }: ProgramOptions & { keyPair: KeyPair }) {
    super(options)
    this.key = toHex(keyPair.publicKey)
  }

  get role(): string {
    return this.name
  }

  protected override async start() {
    this.acknowledgedAt = null
    await super.start()
  }

  /** Reads what it printed. */
  read() {
    if (this.news().some((line) => line.startsWith('registered service'))) {
      this.acknowledgedAt = this.clock.now
    }
  }
}

/** How a service calls its nth life. */
export function tagOf(life: number): string {
  return `life-${life}`
}

/** @returns null if that is no such tag */
export function lifeOf(tags: readonly string[]): number | null {
  const [, life] = /^life-(\d+)$/.exec(tags.join()) ?? []
  return life === undefined ? null : Number(life)
}
