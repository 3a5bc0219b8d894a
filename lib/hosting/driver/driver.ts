/** What one instance of an app is run with. */
export interface StartTerms {
  /** A name of `a-z 0-9 -` that is unique on this host. It is used for what is made for the instance. */
  name: string
  /** The program and its arguments. */
  command: readonly string[]
  /** Its working folder: that of its bundle. */
  folder: string
  /** The folder of its own data: its HOME, where it may write. */
  data: string
  /** Its whole environment. PATH and HOME are added if they are not in it. */
  env: Readonly<Record<string, string>>
  /** Its output is appended here. */
  log: string
  /** Bytes that it may use; 0 for no limit. */
  memory: number
  /** Cores that it may use; null for all. */
  cpu?: number | null
  /** Processes and threads that it may have. */
  pids?: number
  /** The user that it runs as, if the host is root. */
  uid?: number | null
  /** Whether it ends with the process that starts it, whatever becomes of that. Default: it outlives it. */
  isBound?: boolean
  /** Whether it is shut in: it sees its two folders, and of the machine only what programs need. */
  sandbox?: boolean
  /** Whether it may write into its working folder when it is shut in. */
  mayWrite?: boolean
}

/** What runs a program as a process of the machine. */
export const PROCESS = 'process'
/** The same, shut in by bubblewrap. */
export const BUBBLEWRAP = 'bubblewrap'

/** What is stored, as JSON, to find a running instance again after the host's own process was restarted. */
export interface Kept {
  pid: number
  /**
   * When the process was started, in the kernel's ticks since boot. It tells the process from another one that has the
   * pid now.
   */
  ticks: string
  boot: string
  /** Its cgroups. */
  cgroups: string[]
  /** If it is shut in: the process that leads its group, and with which everything in its sandbox ends. */
  leader?: { pid: number; ticks: string }
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
  /** The memory in bytes. */
  memory: number
  /** The CPU time since it was started, in ms. */
  cpu: number
}

/** An instance that runs. */
export interface Running {
  readonly kept: Kept
  /** Resolves when it has ended, and nothing that it has started is left. */
  readonly ended: Promise<Ending>
  /** Sends a signal to the program and to what it has started. */
  signal(signal: NodeJS.Signals): void
  /** Kills it and everything that it has started. */
  kill(): Promise<void>
  /** Null if it has ended. */
  usage(): Promise<Usage | null>
}

/** What a driver can do on this host, for `hosts` to show. */
export interface Abilities {
  /**
   * The limits that hold for a whole instance: `memory`, `pids`, `cpu`. Without `memory` the limit of memory holds for
   * each of its processes.
   */
  limits: string[]
  /** Whether each instance can run as a user of its own. */
  users: boolean
  /** Why nothing can be shut in, for people to read; null if it can. */
  noSandbox: string | null
}

/** A way to run instances. It has no state of its own: what it needs to find them again is in `kept`. */
export interface Driver {
  readonly name: string
  /** @throws UNSUPPORTED_DEPENDENCY if it cannot run anything here */
  available(): Promise<Abilities>
  /**
   * Starts a program.
   *
   * @param keep stores what finds it again. Until that is done the program does not begin, and never begins if this
   *   process ends before or if it fails
   * @throws COMMAND_FAILED, STORAGE_FAILED, and the errors of `keep`
   */
  start(terms: StartTerms, keep?: (kept: Kept) => Promise<void>): Promise<Running>
  /**
   * Finds an instance again that was started by an earlier process.
   *
   * @returns null if it has ended; what it left behind is ended as well
   */
  adopt(kept: Kept): Promise<Running | null>
}
