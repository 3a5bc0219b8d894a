import type { Sites } from '../sites.js'
import { Actor, type ActorOptions, type Deed } from './actor.js'

/** The line between the two sites: cut and mended. */
export class Line extends Actor {
  protected readonly deeds: { [name: string]: Deed }

  constructor(sites: Sites, options: Omit<ActorOptions, 'name'>) {
    super({ ...options, name: 'the line' })
    this.state = 'up'
    this.deeds = {
      cut: { from: 'up', to: 'down', weight: 1, act: () => sites.cut() },
      heal: { from: 'down', to: 'up', weight: 1, act: () => sites.heal() }
    }
  }
}
