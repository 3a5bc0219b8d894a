import t from 'tap'
import { isOpenLimit, unlessOpenLimit } from '../../lib/core/open-limit.js'

t.test('an error that no more files may be opened is told from others', async (t) => {
  const limits = [
    Object.assign(new Error('open'), { code: 'EMFILE' }),
    Object.assign(new Error('open'), { code: 'ENFILE' }),
    new Error('ENFILE: file table overflow, open /x'),
    new Error('IO error: While open a file for lock: /x/LOCK: Too many open files'),
    new Error('IO error: While opening a file: /x: Too many open files in system')
  ]
  for (const error of limits) {
    t.ok(isOpenLimit(error), error.message)
    t.throws(() => unlessOpenLimit(error), error)
  }
  const others = [
    Object.assign(new Error('open'), { code: 'ENOENT' }),
    new SyntaxError('Unexpected end of JSON input'),
    'EMFILE',
    null
  ]
  for (const error of others) {
    t.notOk(isOpenLimit(error))
    unlessOpenLimit(error)
  }
})
