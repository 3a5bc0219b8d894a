import fc from 'fast-check'
import t from 'tap'
import { costOf } from '../../lib/link/frames.js'
import {
  INITIAL_WINDOW,
  LINK_BUDGET,
  MAX_WINDOW,
  MIN_WINDOW,
  Window,
  type WindowBudget
} from '../../lib/link/window.js'

t.test('credit comes back when half of the window was read', async (t) => {
  const window = new Window({ left: LINK_BUDGET })
  t.equal(window.size, INITIAL_WINDOW)
  const half = INITIAL_WINDOW / 2 - costOf(0)
  t.ok(window.receive(half))
  t.notOk(window.isGrantDue, 'not when it is received')
  window.read(half)
  t.ok(window.isGrantDue, 'but when it is read')
  t.equal(window.grant(), INITIAL_WINDOW / 2)
  t.equal(window.open, INITIAL_WINDOW)
})

t.test('data beyond the window is noticed', async (t) => {
  const window = new Window({ left: LINK_BUDGET })
  t.ok(window.receive(INITIAL_WINDOW - costOf(0)))
  t.notOk(window.receive(0), 'even an empty frame has its cost')
})

t.test('a window that holds up a quick reader doubles, up to its maximum', async (t) => {
  const window = new Window({ left: LINK_BUDGET })
  for (let size = INITIAL_WINDOW; size <= MAX_WINDOW; size *= 2) {
    t.equal(window.size, size)
    const bytes = window.open - costOf(0)
    window.receive(bytes)
    window.read(bytes)
    window.grow()
    window.grant()
    t.equal(window.open, window.size)
  }
  t.equal(window.size, MAX_WINDOW)
})

t.test('a window does not grow for a slow reader', async (t) => {
  const window = new Window({ left: LINK_BUDGET })
  window.receive(window.open - costOf(0))
  window.grow()
  t.equal(window.size, INITIAL_WINDOW)
})

t.test('a window does not grow for a sender that only says that it is blocked', async (t) => {
  const window = new Window({ left: LINK_BUDGET })
  for (let i = 0; i < 100; i++) window.grow()
  t.equal(window.size, INITIAL_WINDOW)
})

t.test('thousands of streams share what one link may hold', async (t) => {
  const budget: WindowBudget = { left: LINK_BUDGET }
  const windows = Array.from({ length: 4096 }, () => new Window(budget))
  const total = windows.reduce((total, { size }) => total + size, 0)
  t.ok(total <= LINK_BUDGET + 4096 * MIN_WINDOW, `${total} bytes in all`)
  t.ok(windows.every(({ size }) => size >= MIN_WINDOW))
  for (const window of windows) window.release()
  t.equal(budget.left, LINK_BUDGET)
})

t.test('whatever happens, credit is neither lost nor made up', async () => {
  const step = fc.oneof(
    fc.record({ receive: fc.nat(70_000) }),
    fc.record({ read: fc.constant(true) }),
    fc.record({ grow: fc.constant(true) }),
    fc.record({ grant: fc.constant(true) })
  )
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const budget = { left: LINK_BUDGET }
      const window = new Window(budget)
      const unread: number[] = []
      for (const step of steps) {
        if ('receive' in step) {
          if (costOf(step.receive) > window.open) continue
          unread.push(step.receive)
          if (!window.receive(step.receive)) throw new Error('refused within the window')
        } else if ('read' in step) {
          const bytes = unread.shift()
          if (bytes !== undefined) window.read(bytes)
        } else if ('grow' in step) window.grow()
        else window.grant()
      }
      const held = unread.reduce((held, bytes) => held + costOf(bytes), 0)
      window.grant()
      if (window.open + held !== window.size) throw new Error('credit got lost')
      if (window.size + budget.left !== LINK_BUDGET) throw new Error('budget got lost')
    })
  )
})
