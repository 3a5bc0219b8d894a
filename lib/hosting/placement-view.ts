/** A machine that runs apps, as its record and the statements about it say. */
export interface HostView {
  /** Its public key, hex. */
  host: string
  /** Labels as in `region=eu`. */
  labels: ReadonlySet<string>
  /** Its platform, as in `linux-x64`: Node's `process.platform` and `process.arch`. */
  platform: string
  drivers: ReadonlySet<string>
  /** The memory that it gives to apps, in bytes; `Infinity` if it is not limited. */
  memory: number
  /** Whether it is being drained: its apps move to other hosts. */
  isDraining: boolean
  /** Whether its lease was lost in an outage of our own network: it is waited for, and given nothing new. */
  isStale: boolean
  /** Apps that it declines now, because its disk is full or they keep failing there. */
  declines: ReadonlySet<string>
}

/** What an app needs of a host. */
export interface AppNeeds {
  app: string
  /**
   * Labels that the host has to have, as in `region=eu`: those of its app file, and those that its deployer's grant is
   * bound to.
   */
  labels: readonly string[]
  /** The platforms that its native programs run on; null for all. */
  platforms: readonly string[] | null
  driver: string
  /** The memory that one instance reserves, in bytes. */
  memory: number
  /** Hosts on which its release failed. Their instances of it end, and they get no more. */
  failedOn?: ReadonlySet<string>
}

/** What is wanted of an app. One that is stopped wants 0 instances. */
export interface AppView extends AppNeeds {
  /** How many instances; `all` is one on each host that can have it. */
  instances: number | 'all'
  /** The hash of the release that is to run. */
  release: string
  /** The release whose command `before` is to run now, and the hosts that cannot run it; absent if there is none. */
  unprepared?: { release: string; driver: string; failedOn: ReadonlySet<string> }
  /** Whether as many instances of the release as are wanted once passed. */
  isComplete?: boolean
  /** How many more than `instances` may run while some are replaced. Default: 1. */
  surge?: number
  /** Whether two must never run at once: the old one ends before the new one starts, and a better host takes nothing over. */
  isSingle?: boolean
}

export interface InstanceView {
  app: string
  /** The host's key, hex. */
  host: string
  /** Its number among the host's instances of this app, from 0. */
  slot: number
  release: string
  /**
   * `passing`: its check has passed for the `steady` time of its release. `ending`: it drains, and does not count as
   * one that is wanted.
   */
  state: 'starting' | 'passing' | 'failing' | 'ending'
  /** The memory that it reserved, in bytes. Default: what its app needs. */
  memory?: number
}

/** The part of the directory that placement needs. Instances on hosts that are not listed are ignored. */
export interface PlacementView {
  hosts: readonly HostView[]
  apps: readonly AppView[]
  instances: readonly InstanceView[]
}
