/** A machine that runs apps, as its record and the statements about it say. */
export interface HostView {
  /** Its public key, hex. */
  host: string
  /** `region=eu`, each. */
  labels: ReadonlySet<string>
  /** As in `linux-x64`: Node's `process.platform` and `process.arch`. */
  platform: string
  drivers: ReadonlySet<string>
  /** Bytes it gives to apps; `Infinity` if it does not count them. */
  memory: number
  /** Whether it is to be emptied. */
  isDraining: boolean
  /** Whether its lease was lost in an outage of our own network: it is waited for, and given nothing new. */
  isStale: boolean
  /** Apps that it cannot take now, by its own word, as its disk is full or they keep failing there. */
  declines: ReadonlySet<string>
}

/** What an app needs of a host. */
export interface AppNeeds {
  app: string
  /** `region=eu`, each: those of its app file, and those that its deployer's grant is bound to. */
  labels: readonly string[]
  /** Where its native programs run; null for everywhere. */
  platforms: readonly string[] | null
  driver: string
  /** Bytes that one instance of it reserves. */
  memory: number
  /** Hosts on which its release failed: what they have of it ends, and they are given no more. */
  failedOn?: ReadonlySet<string>
}

/** What is wanted of an app. One that is stopped wants 0 instances. */
export interface AppView extends AppNeeds {
  /** How many instances; `all` is one on each host that can have it. */
  instances: number | 'all'
  /** The hash of what is to run. */
  release: string
  /** Whether as many as wanted of the release once passed. */
  isComplete?: boolean
  /** How many more than `instances` may run while some are replaced. Default 1. */
  surge?: number
  /** Whether two must never run at once: the old one ends before the new one starts, and a better host takes nothing over. */
  isSingle?: boolean
}

export interface InstanceView {
  app: string
  /** The host's key, hex. */
  host: string
  /** Which of the host's places for this app it has, from 0. */
  slot: number
  release: string
  /** `passing`: its check passes, for as long as its release calls steady. `ending`: it drains, and takes nobody's place. */
  state: 'starting' | 'passing' | 'failing' | 'ending'
  /** Bytes that it reserved; default: what its app needs. */
  memory?: number
}

/** The directory, as far as placement goes. Instances on hosts that are not listed count for nothing. */
export interface PlacementView {
  hosts: readonly HostView[]
  apps: readonly AppView[]
  instances: readonly InstanceView[]
}
