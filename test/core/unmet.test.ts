import t from 'tap'
import { SecretStream } from '../../lib/core/holepunch.js'
import { noteSides, whyUnmet } from '../../lib/core/unmet.js'

t.test('who cannot be met is told which side is behind what, and what helps', async (t) => {
  const connection = new SecretStream(true, null, { autoStart: false })
  t.teardown(() => connection.destroy())
  t.match(whyUnmet(connection, 'PEER_NOT_FOUND'), /nobody is announced/)
  t.match(whyUnmet(connection, 'PEER_CONNECTION_FAILED'), /does not answer/)
  t.match(
    whyUnmet(connection, 'HOLEPUNCH_DOUBLE_RANDOMIZED_NATS'),
    /both sides are behind a router that gives each call another port.*registry --relay/
  )
  t.match(whyUnmet(connection, 'HOLEPUNCH_ABORTED'), /no hole was found.*registry --relay/)
  t.equal(whyUnmet(connection, undefined), 'no connection could be made')
  t.equal(whyUnmet(connection, 'ECONNRESET'), 'ECONNRESET')
  noteSides(connection, 3, 2)
  for (const code of ['HOLEPUNCH_ABORTED', undefined]) {
    t.match(
      whyUnmet(connection, code),
      /this side is behind a router or firewall that keeps its ports, the other behind a router that gives each/
    )
  }
})
