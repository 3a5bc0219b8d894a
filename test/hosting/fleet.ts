import { randomBytes } from 'node:crypto'
import { type Change, place } from '../../lib/hosting/placement.js'
import type { AppView, HostView, InstanceView } from '../../lib/hosting/placement-view.js'
import { Ranks } from '../../lib/hosting/ranks.js'

/** A host as tests have it, with a random key unless it is given. */
export function aHost(fields: Partial<HostView> = {}): HostView {
  return {
    host: randomBytes(32).toString('hex'),
    labels: new Set(),
    platform: 'linux-x64',
    drivers: new Set(['process']),
    memory: Number.POSITIVE_INFINITY,
    isDraining: false,
    isStale: false,
    declines: new Set(),
    ...fields
  }
}

export function anApp(fields: Partial<AppView> = {}): AppView {
  return {
    app: 'shop',
    instances: 3,
    release: 'r1',
    labels: [],
    platforms: null,
    driver: 'process',
    memory: 0,
    ...fields
  }
}

/** Hosts that do what placement says, all with the same view, a step each: started, passing, ended. */
export class Fleet {
  readonly hosts = new Map<string, HostView>()
  readonly apps = new Map<string, AppView>()
  instances: InstanceView[] = []
  #ranks: Ranks | undefined

  add(...hosts: HostView[]) {
    for (const host of hosts) this.hosts.set(host.host, host)
  }

  want(...apps: AppView[]) {
    for (const app of apps) this.apps.set(app.app, app)
  }

  /** A host dies with all that it runs. */
  lose(host: string) {
    this.hosts.delete(host)
    this.instances = this.instances.filter((instance) => instance.host !== host)
  }

  decide() {
    this.#ranks = new Ranks(this.hosts.keys(), this.#ranks)
    const view = {
      hosts: [...this.hosts.values()],
      apps: [...this.apps.values()],
      instances: this.instances
    }
    return place(view, this.#ranks)
  }

  /** Decides, and does it: what starts passes after the next step, what is to stop ends after the next. */
  step(): Change[] {
    const { changes } = this.decide()
    this.instances = this.instances
      .filter(({ state }) => state !== 'ending')
      .map((one) => (one.state === 'starting' ? { ...one, state: 'passing' } : one))
    for (const { action, app, host, slot, release } of changes) {
      if (action === 'start') this.instances.push({ app, host, slot, release, state: 'starting' })
      else {
        this.instances = this.instances.map((one) =>
          one.app === app && one.host === host && one.slot === slot
            ? { ...one, state: 'ending' }
            : one
        )
      }
    }
    return changes
  }

  /** Steps until nothing changes any more. */
  settle(maxSteps = 1000, onstep: (changes: Change[]) => void = () => {}) {
    for (let step = 0; step < maxSteps; step++) {
      const isMoving = this.instances.some(({ state }) => state !== 'passing')
      const changes = this.step()
      onstep(changes)
      if (changes.length === 0 && !isMoving) return
    }
    throw new Error(`it goes on after ${maxSteps} steps`)
  }

  /** How many of each app run on each host, as one text. */
  get placement(): string {
    return this.instances
      .map(({ app, host, release }) => `${app} ${release} ${host}`)
      .sort()
      .join('\n')
  }

  on(host: string): InstanceView[] {
    return this.instances.filter((instance) => instance.host === host)
  }
}
