import type { Child } from '../child.js'
import type { Island } from '../island.js'

/** The end of a path that clients connect to. */
export interface Near {
  port: number
  /** Where the backend is found there by HTTP. Default: at `/`. */
  path?: string
  /** Its process, if there is one. */
  child: Child | null
  stop(): Promise<void>
}

/** A way to a backend. */
export interface Path {
  readonly kind: PathKind
  /** The process in front of the backend, if there is one. */
  readonly far: Child | null
  /** Starts another near end, which has connected to nothing yet but what it connects to by itself. */
  near(): Promise<Near>
  close(): Promise<void>
}

/** A kind of path: what is compared. */
export interface PathKind {
  readonly name: string
  /** Whether it is measured against, rather than measured. */
  readonly isBaseline: boolean
  /** Why it cannot be had here, or null if it can. */
  missing(island: Island): Promise<string | null>
  open(island: Island, backendPort: number): Promise<Path>
}
