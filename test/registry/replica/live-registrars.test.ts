import t from 'tap'
import { LiveRegistrars } from '../../../lib/registry/replica/live-registrars.js'
import type { Peer } from '../../../lib/registry/swarm/peer.js'

/** As many as a registrar that crashes again and again on an empty disk has been within hours. */
const MANY = 2000

t.test('of registrars that are gone only the latest are remembered', (t) => {
  const registrars = new LiveRegistrars()
  const stays = { key: 'stays' } as Peer
  registrars.hear(stays, 'log')
  const gone = Array.from({ length: MANY }, (_, i) => ({ key: `gone ${i}` }) as Peer)
  for (const peer of gone) {
    registrars.hear(peer, 'log')
    registrars.lose(peer)
  }
  const remembered = gone.filter(({ key }) => registrars.heardAt(key) !== null)
  t.same(remembered, gone.slice(-remembered.length))
  t.ok(remembered.length > 100 && remembered.length < MANY, `${remembered.length} of ${MANY}`)
  t.type(registrars.heardAt(stays.key), 'number', 'who is live is remembered')
  t.ok(registrars.wasHeardWithin(60_000, stays.key))
  t.end()
})
