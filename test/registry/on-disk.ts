import type { Corestore } from '../../lib/registry/log/hypercore.js'

/** How many blocks of a core are on disk. */
export async function onDisk(store: Corestore, key: string): Promise<number> {
  const core = store.get({ key: Buffer.from(key, 'hex') })
  await core.ready()
  let blocks = 0
  for (let i = 0; i < core.length; i++) if (await core.get(i, { wait: false })) blocks++
  await core.close()
  return blocks
}
