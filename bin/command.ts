import type { Declaration } from './declaration.js'
import type { Lifetime } from './lifetime.js'
import type { Settings } from './settings.js'

/**
 * A verb of the command line: what the help says about it, and what it does. Its file is loaded for help
 * and for a slip in any verb, too, so it imports nothing that takes long: `run` does that.
 */
export interface Command extends Declaration {
  /** Whether it runs until it is stopped. Of others, a stop is a failure. */
  isLasting?: boolean
  /** Whether it asks for what the config file would say, and writes it, where the named one is missing. */
  makesConfig?: boolean
  /** Reads all its settings before it does anything, so that usage errors come first. */
  run(settings: Settings, lifetime: Lifetime): Promise<void>
}
