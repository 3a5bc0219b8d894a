import type { DirectoryChange, Instance } from '../../../lib/index.js'
import { Program } from './program.js'
import { lifeOf, type ServiceProgram } from './service.js'

/** What a watcher shows of a service. */
export interface Sight {
  life: number
  /** Whether a live registrar is said to vouch for it. */
  isLive: boolean
  seq: number
  direct: string[]
}

type News = Instance & { change?: DirectoryChange }

/** A consumer process, and what it has told of its directory in its present life. */
export class Watcher extends Program {
  readonly #sights = new Map<string, Sight>()
  /** The last words on each key, of those that are gone too. */
  readonly #last = new Map<string, Sight>()
  /** Changes, over all its lives. */
  changes = 0

  protected override async start() {
    this.#sights.clear()
    this.#last.clear()
    await super.start()
  }

  sightOf({ key }: ServiceProgram): Sight | undefined {
    return this.#sights.get(key)
  }

  /** Where a service was last said to listen by TCP. */
  addressesOf({ key }: ServiceProgram): string[] {
    return this.#last.get(key)?.direct ?? []
  }

  /**
   * Reads what it printed.
   *
   * @returns what it showed that no owner has said, in words
   */
  read(services: readonly ServiceProgram[]): string[] {
    const forgeries: string[] = []
    for (const line of this.news()) {
      const news = JSON.parse(line) as News
      if (news.change === undefined) continue
      this.changes++
      const owner = services.find(({ key }) => key === news.servicePublicKey)
      const forgery = this.#forgery(owner, news)
      if (forgery) forgeries.push(`${this.name} was shown ${forgery}: ${line}`)
      this.#take(news)
    }
    return forgeries
  }

  #take({ change, servicePublicKey: key, live, status, tags, ...news }: News) {
    const { seq, direct } = news
    const sight = { life: lifeOf(tags) ?? 0, isLive: live && status !== 'stale', seq, direct }
    this.#last.set(key, sight)
    if (change === 'down') this.#sights.delete(key)
    else this.#sights.set(key, sight)
  }

  /** No record but as its owner signed it, and none that it has replaced. */
  #forgery(owner: ServiceProgram | undefined, { role, version, tags, seq, ...news }: Instance) {
    const life = lifeOf(tags)
    const last = this.#last.get(news.servicePublicKey)
    if (owner === undefined) return 'a service that there is not'
    if (role !== owner.role || version !== '1.0.0') return 'another role'
    if (life === null || life < 1 || life > owner.lives) return 'a life that was not'
    if (last && seq < last.seq) return 'an older record again'
    if (last && seq === last.seq && life !== last.life) return 'a record with other contents'
    return last && life < last.life ? 'an earlier life again' : null
  }
}
