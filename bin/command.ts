import type { Lifetime } from './lifetime.js'
import type { Settings } from './settings.js'

/** A verb of the command line: what the help says about it, and what it does. */
export interface Command {
  verb: string
  describe: string
  /** Flags by name, in camelCase. */
  flags: Record<string, Flag>
  /** A flag that may also be given by position, `list couchdb@3.x`. */
  positional?: string
  /** Command lines without the program's name, and what they do. */
  examples: [line: string, does: string][]
  /** Whether it runs until it is stopped. Of others, a stop is a failure. */
  isLasting?: boolean
  /** Reads all its settings before it does anything, so that usage errors come first. */
  run(settings: Settings, lifetime: Lifetime): Promise<void>
}

export interface Flag {
  describe: string
  alias?: string
  /** A text takes a value, a switch none, a list may be repeated, and the rest is what follows `--`. */
  kind?: 'text' | 'switch' | 'list' | 'rest'
  /** What the help says happens without it. */
  otherwise?: string
  /** What the error adds when it is needed and missing. */
  needed?: string
  /** Whether the environment and config files cannot set it. */
  commandLineOnly?: boolean
}
