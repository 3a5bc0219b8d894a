import t from 'tap'
import type { Caller } from '../../lib/messaging/caller.js'
import { CONVERSATION } from '../../lib/messaging/conversation.js'
import { Emitter } from '../../lib/messaging/emitter.js'
import { restWhile } from '../rest.js'
import { deferred } from './bay.js'

t.test('what is emitted to an instance that is not reached yet is bounded', async (t) => {
  const opened = deferred<Caller>()
  let [late, early] = [0, 0]
  const caller = (onemit: () => void) => ({ emit: onemit }) as unknown as Caller
  const [frozen, there] = ['01'.repeat(32), '02'.repeat(32)]
  const emitter = new Emitter({
    conversations: {
      open: (key) => (key[0] === 1 ? opened.promise : Promise.resolve(caller(() => early++)))
    },
    instances: () =>
      [frozen, there].map((servicePublicKey) => ({ servicePublicKey, speaks: [CONVERSATION] }))
  })
  for (let i = 0; i < 1000; i++) {
    emitter.emit('TICK', Buffer.alloc(50_000))
    await null
    await null
  }
  await restWhile(() => early < 1000)
  opened.resolve(caller(() => late++))
  await restWhile(() => late === 0)
  t.ok(late > 300 && late < 350, `${late} of 1000`)
  emitter.emit('TICK', null)
  await restWhile(() => early < 1001)
  t.ok(late < 400, 'and it is heard again')
})
