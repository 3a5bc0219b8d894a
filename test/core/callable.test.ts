import { inspect } from 'node:util'
import t from 'tap'
import { KeyPair } from '../../lib/core/keys.js'
import { Admin, BootstrapNode, Consumer, Registry, Service, Web } from '../../lib/index.js'

/** They are never set up, so nothing is made in this folder. */
const OPTIONS = {
  registryPublicKey: KeyPair().publicKey,
  bootstrap: '127.0.0.1:1',
  dir: '/nowhere/that/is'
}
const REGISTRY = { seed: '0b'.repeat(32), bootstrap: OPTIONS.bootstrap, dir: OPTIONS.dir }

t.test('each face is called with new or without, and is an instance of itself', async (t) => {
  const made = {
    Registry: [Registry(REGISTRY), new Registry(REGISTRY)],
    Service: [
      Service({ ...OPTIONS, role: 'a@1.0.0', port: 1 }),
      new Service({ ...OPTIONS, role: 'a@1.0.0', port: 1 })
    ],
    Consumer: [Consumer([], OPTIONS), new Consumer([], OPTIONS)],
    Web: [Web(OPTIONS), new Web(OPTIONS)],
    Admin: [Admin(OPTIONS), new Admin(OPTIONS)],
    BootstrapNode: [BootstrapNode(), new BootstrapNode()]
  }
  const kinds = { Registry, Service, Consumer, Web, Admin, BootstrapNode }
  for (const [name, Kind] of Object.entries(kinds)) {
    t.equal(Kind.name, name)
    for (const one of made[name as keyof typeof made]) {
      t.ok(one instanceof Kind)
      t.notOk(one instanceof (Kind === Registry ? Service : Registry))
      t.equal(one.constructor, Kind)
      t.match(inspect(one), new RegExp(`^${name} `))
      await one.destroy()
    }
  }
})

t.test('a face is the base of a class with fields, methods and private members', async (t) => {
  class Mine extends Consumer {
    readonly made = 'by me'
    #calls = 0

    constructor(role: string) {
      super([role], OPTIONS)
    }

    get calls() {
      return this.#calls
    }

    override list(role?: string) {
      this.#calls++
      return super.list(role)
    }
  }
  const mine = new Mine('a@1.x')
  t.ok(mine instanceof Mine)
  t.ok(mine instanceof Consumer)
  t.notOk(Consumer([], OPTIONS) instanceof Mine)
  t.equal(mine.made, 'by me')
  t.equal(mine.entries.length, 1)
  t.same(mine.list(), [])
  t.equal(mine.calls, 1)
  t.equal(mine.constructor, Mine)
  t.equal(Mine.name, 'Mine')
  await mine.destroy()
  await t.rejects(mine.setup(), { code: 'CLOSED' })
})
