import type { SUMMARIES } from './summaries.js'

/** What the help says about a verb, and what its command line may give. */
export interface Declaration {
  verb: keyof typeof SUMMARIES
  /** Flags by name, in camelCase. */
  flags: Record<string, Flag>
  /** Flags that may also be given by position, `list couchdb@3.x`. If the last one is a list, it takes all the rest. */
  positional?: string | readonly string[]
  /** Command lines without the program's name, and what they do. */
  examples: [line: string, does: string][]
}

export interface Flag {
  describe: string
  /** One letter. */
  alias?: string
  /** A text takes a value, a switch none, a list may be repeated, and the rest is what follows `--`. */
  kind?: 'text' | 'switch' | 'list' | 'rest'
  /** What the help says happens without it. */
  otherwise?: string
  /** What the error adds when it is needed and missing. */
  needed?: string
  /** Flags in whose presence it is not needed. */
  unless?: readonly string[]
  /** Whether it names a file that is read, and may be a pipe. Those given as `@file` need not say so. */
  isFile?: boolean
  /** Whether the environment and config files cannot set it. */
  commandLineOnly?: boolean
}
