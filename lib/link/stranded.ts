import { isAcknowledged } from '../core/acknowledged.js'
import { SeaportError } from '../core/errors.js'
import type { Link } from './link.js'

/**
 * Cuts those links over the DHT on which nothing arrives any more, since this machine's address is another one. A direct
 * path tells so itself. Never rejects.
 */
export async function cutStranded(links: Iterable<Link>) {
  const doubtful = [...links].filter((link) => link.isConnected && link.path !== 'direct')
  await Promise.all(
    doubtful.map(async (link) => {
      if (await isAcknowledged(link.connection)) return
      link.destroy(
        SeaportError.LINK_LOST('the way of the link ended with the address of this machine')
      )
    })
  )
}
