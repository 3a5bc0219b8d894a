import t from 'tap'
import { islandOf, list } from '../bin/island.js'

t.test('three services of one role on one machine are three instances', async (t) => {
  const { cli, start } = await islandOf(t)
  const flags = ['-p', `${start.port}`, '-r', 'hello@1.0.0']
  // At once, so that they race for the slots.
  const services = [1, 2, 3].map(() => cli.start(['service', ...flags]))
  const keys = await Promise.all(
    services.map((service) => service.waitForLine('started p2p service on '))
  )
  t.equal(new Set(keys).size, 3)
  await Promise.all(services.map((service) => service.waitForLine('registered service')))
  const listed = (await list(cli)).map(({ servicePublicKey }) => servicePublicKey)
  t.same(listed.sort(), [...keys].sort())

  await services[1]?.kill('SIGKILL')
  const heir = cli.start(['service', ...flags])
  t.equal(await heir.waitForLine('started p2p service on '), keys[1], 'a killed one left no lock')
})
