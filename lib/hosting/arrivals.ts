import type { HostedInstance } from './hosted-instance.js'
import { refusals } from './placement.js'
import type { PlacementView } from './placement-view.js'
import type { Placer } from './placer.js'

/**
 * Instances that were started here and have not passed yet. Of a release that is complete nobody gives a verdict: one
 * that keeps failing here goes to another host, and this one declines the app for some time.
 */
export class Arrivals {
  readonly #key: string
  readonly #placer: Placer
  readonly #instances = new Set<HostedInstance>()

  /** @param key of the host, hex */
  constructor(key: string, placer: Placer) {
    this.#key = key
    this.#placer = placer
  }

  add(instance: HostedInstance) {
    this.#instances.add(instance)
  }

  /** Returns those that are to be stopped, because they keep failing and another host could have them. */
  look(view: PlacementView, now: number): HostedInstance[] {
    return [...this.#instances].filter((one) => {
      const { app } = one.occupancy
      if (one.state === 'ending' || one.state === 'ended') this.#instances.delete(one)
      else if (one.isSteady) {
        this.#instances.delete(one)
        this.#placer.passed(app)
      } else if (one.keepsFailing && this.#mayGo(view, one)) {
        this.#instances.delete(one)
        this.#placer.failed(app, now)
        return true
      }
      return false
    })
  }

  #mayGo(view: PlacementView, { occupancy }: HostedInstance): boolean {
    const app = view.apps.find((one) => one.app === occupancy.app)
    if (!app?.isComplete || app.release !== occupancy.hash) return false
    const refused = refusals(view, app)
    return view.hosts.some(({ host }) => host !== this.#key && !refused.has(host))
  }
}
