import { EventEmitter, once } from 'node:events'
import t, { type Test } from 'tap'
import { SeaportError } from '../../../lib/core/errors.js'
import { Reports, type ReportsOptions } from '../../../lib/registry/swarm/reports.js'

const BAD = SeaportError.BAD_MESSAGE('that was no message')

t.test('each peer is spoken of once, whatever it goes on to say', async (t) => {
  const { reports, said } = make(t)
  for (let i = 0; i < 100; i++) reports.add('aa', SeaportError.remote('BAD_MESSAGE', `no ${i}`))
  reports.add('bb', BAD, ', dropped')
  t.same(said, ['BAD_MESSAGE: no 0 (aa…)', 'BAD_MESSAGE: that was no message (bb…), dropped'])
})

t.test('a flood of peers is told in one line', async (t) => {
  const { reports, said, told } = make(t, { limit: 2, window: 5 })
  for (const peer of ['aa', 'bb', 'cc', 'dd']) reports.add(peer, BAD)
  await told()
  t.equal(said.length, 3)
  t.equal(said.at(-1), 'BAD_MESSAGE: 2 more of these, of other peers')
})

t.test('who makes up a code for each message is not spoken of for each', async (t) => {
  const { reports, said } = make(t)
  for (let i = 0; i < 1000; i++) {
    const letters = [...String(i)].map((digit) => 'ABCDEFGHIJ'[Number(digit)]).join('')
    reports.add('aa', SeaportError.remote(`CODE_${letters}`, 'look at me'))
  }
  t.equal(said.length, 1)
})

function make(t: Test, options: Partial<ReportsOptions> = {}) {
  const said: string[] = []
  const events = new EventEmitter()
  const onreport = ({ message }: SeaportError) => {
    said.push(message)
    events.emit(message.includes(' more of these') ? 'summary' : 'report')
  }
  const reports = new Reports({ onreport, ...options })
  t.teardown(() => reports.close())
  // The timer of the window keeps no process alive.
  const told = async () => {
    const alive = setInterval(() => {}, 1000)
    await once(events, 'summary').finally(() => clearInterval(alive))
  }
  return { reports, said, told }
}
