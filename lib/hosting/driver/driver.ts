/** What one instance of an app is run with. */
export interface StartTerms {
  /** Unique on this host, of `a-z 0-9 -`: names what is made for it. */
  name: string
  /** The program and its arguments. */
  command: readonly string[]
  /** Where it begins: the folder of its bundle. */
  folder: string
  /** Its own data: its HOME, and where it may write. */
  data: string
  /** All that it finds in its environment, but for PATH and HOME where they are not named. */
  env: Readonly<Record<string, string>>
  /** Its output is appended here. */
  log: string
  /** Bytes that it may use; 0 for no limit. */
  memory: number
  /** Cores that it may use; null for all. */
  cpu?: number | null
  /** Processes and threads that it may have. */
  pids?: number
  /** Whom it runs as, where the host is root. */
  uid?: number | null
}

/** What finds a running instance again, as JSON, after the host's own process was restarted. */
export interface Kept {
  pid: number
  /** When the process was started, in the kernel's ticks since boot, so that a stranger who has the pid now is told from it. */
  ticks: string
  boot: string
  /** Its groups of processes with limits. */
  cgroups: string[]
}

/** How an instance ended. */
export interface Ending {
  /** Null if a signal ended it, or if it was not started by this process. */
  code: number | null
  signal: string | null
  /** Whether it was killed for using more memory than it may. */
  isOutOfMemory: boolean
}

export interface Usage {
  /** Bytes. */
  memory: number
  /** Of a CPU, in ms since it was started. */
  cpu: number
}

/** An instance that runs. */
export interface Running {
  readonly kept: Kept
  /** Resolves when it has ended, and nothing that it has started is left. */
  readonly ended: Promise<Ending>
  /** Asks the program, and what it has started, to end, as with SIGTERM. */
  signal(signal: NodeJS.Signals): void
  /** Ends it, and all that it has started, at once. */
  kill(): Promise<void>
  /** Null if it has ended. */
  usage(): Promise<Usage | null>
}

/** What a driver can do on this host, for `hosts` to show. */
export interface Abilities {
  /** `memory`, `pids`, `cpu`: limits of a whole instance. Without `memory` each of its processes has the limit. */
  limits: string[]
  /** Whether each instance can run as a user of its own. */
  users: boolean
}

/** Runs instances in one way. It has no state: what it needs to find them again is in `kept`. */
export interface Driver {
  readonly name: string
  /** @throws UNSUPPORTED_DEPENDENCY if it cannot run anything here */
  available(): Promise<Abilities>
  /** @throws COMMAND_FAILED, STORAGE_FAILED */
  start(terms: StartTerms): Promise<Running>
  /**
   * Finds an instance again that was started by an earlier process.
   *
   * @returns null if it has ended; what it left is ended too
   */
  adopt(kept: Kept): Promise<Running | null>
}
