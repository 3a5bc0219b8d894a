import type { Test } from 'tap'
import { islandOf } from './island.js'

/** A registry in this process, and peers of it that the binary runs. */
export async function peersOf(t: Test) {
  const { cli, bootstrap, registryPublicKey } = await islandOf(t)
  const peer = async (name: string, ...flags: string[]) => {
    const running = cli.start(['peer', '--name', name, '--dir', cli.path(name), ...flags])
    const key = await running.waitForTalk('peer ')
    await running.waitForTalk('registered as peer ')
    return { running, key }
  }
  return { cli, bootstrap, registryPublicKey, peer }
}
