import { userInfo } from 'node:os'
import t from 'tap'
import { homeFolder } from '../../lib/core/home-folder.js'

t.test('a home is an absolute path, and an empty HOME is none', async (t) => {
  const { HOME } = process.env
  t.teardown(() => {
    if (HOME === undefined) delete process.env.HOME
    else process.env.HOME = HOME
  })
  process.env.HOME = '/some/where'
  t.equal(homeFolder(), '/some/where')
  process.env.HOME = ''
  t.equal(homeFolder(), userInfo().homedir)
  process.env.HOME = 'some/where'
  t.throws(homeFolder, { message: 'some/where is no absolute path' })
})
