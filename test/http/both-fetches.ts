import type { RequestListener } from 'node:http'
import type { Test } from 'tap'
import { Consumer } from '../../lib/index.js'
import { Harbor, portOf } from '../gateway/harbor.js'

export type Ask = (path: string, init?: RequestInit) => Promise<Response>

/** Node's own fetch to a backend, and that of an entry: each case holds for both, so the first is the measure. */
export async function both(t: Test, listener: RequestListener): Promise<[who: string, ask: Ask][]> {
  const harbor = await Harbor.make(t)
  const backend = await harbor.backend(listener)
  await harbor.service('api@1.0.0', portOf(backend))
  const dir = await harbor.testbed.dir()
  const consumer = Consumer(['api'], { ...harbor.options, dir })
  t.teardown(() => consumer.destroy())
  const [api] = await consumer.setup()
  const own = `http://127.0.0.1:${portOf(backend)}`
  return [
    ["Node's own", (path, init) => fetch(own + path, init)],
    ["the entry's", api.fetch]
  ]
}
