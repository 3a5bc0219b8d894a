import { FolderWatch } from '../lib/apps.js'
import type { Apps } from '../lib/index.js'
import type { Lifetime } from './lifetime.js'
import { say } from './talk.js'

/** Updates an app now, and again after each change in its folder, until it is told to stop. That stops nothing else. */
export async function updateOnChange(
  apps: Apps,
  folder: string,
  lifetime: Lifetime,
  update: () => Promise<unknown>
) {
  const watch = new FolderWatch(folder)
  lifetime.own({ destroy: async () => watch.close() })
  // What is built belongs to the release, and is no change after it.
  apps.on('packed', () => void watch.mark())
  do {
    await watch.mark()
    try {
      await update()
    } catch (error) {
      if (lifetime.stopped) return
      // The next change may mend it.
      say((error as Error).message)
    }
    say(`waiting for changes in ${folder}; Ctrl-C ends that, and the app goes on`)
  } while (await watch.changed())
}
