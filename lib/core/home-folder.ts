import { homedir, userInfo } from 'node:os'
import { isAbsolute } from 'node:path'

/**
 * The folder of the user who runs us. An empty HOME is none: the list of the system's users says where it is.
 *
 * @throws an error if there is none, as in containers
 */
export function homeFolder(): string {
  const home = process.env.HOME === '' ? userInfo().homedir : homedir()
  // Files would be made in whatever folder each command is run in.
  if (!isAbsolute(home)) throw new Error(`${home} is no absolute path`)
  return home
}
