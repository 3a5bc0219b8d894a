import type { AppNeeds, HostView, InstanceView } from './placement-view.js'

const MIB = 2 ** 20

/** The free memory and slots of hosts, from which a placement takes. */
export class Room {
  readonly #free = new Map<string, number>()
  /** The slots that are taken, by host and app. */
  readonly #slots = new Map<string, Set<number>>()

  constructor(
    hosts: readonly HostView[],
    instances: readonly InstanceView[],
    apps: readonly AppNeeds[]
  ) {
    const needs = new Map(apps.map(({ app, memory }) => [app, memory]))
    for (const { host, memory } of hosts) this.#free.set(host, memory)
    // An instance that ends still has its memory and its slot.
    for (const { app, host, slot, memory = needs.get(app) ?? 0 } of instances) {
      this.take(host, memory)
      this.#slotsOf(host, app).add(slot)
    }
  }

  has(host: string, memory: number): boolean {
    return memory === 0 || (this.#free.get(host) ?? 0) >= memory
  }

  take(host: string, memory: number) {
    this.#free.set(host, (this.#free.get(host) ?? 0) - memory)
  }

  /** Takes the first slot that no instance has. */
  freeSlot(host: string, app: string): number {
    const taken = this.#slotsOf(host, app)
    let slot = 0
    while (taken.has(slot)) slot++
    taken.add(slot)
    return slot
  }

  /** Why there is no room for one more, for people to read; null if there is. */
  refusalOf(host: string, { memory }: AppNeeds): string | null {
    if (this.has(host, memory)) return null
    const free = Math.max(0, this.#free.get(host) ?? 0)
    return `${toMiB(free)} MiB of its memory are free, and ${toMiB(memory)} MiB are needed`
  }

  #slotsOf(host: string, app: string): Set<number> {
    const name = `${host} ${app}`
    const taken = this.#slots.get(name) ?? new Set<number>()
    this.#slots.set(name, taken)
    return taken
  }
}

function toMiB(bytes: number): number {
  return Math.floor(bytes / MIB)
}
