/** A class that may be called with or without `new`, and extended. */
export interface Callable<A extends unknown[], T> {
  new (...args: A): T
  (...args: A): T
  readonly prototype: T
}

/**
 * Lets a class be called without `new`, under the name that it is exported as. Subclasses and `instanceof` work
 * as with the class itself.
 */
export function callable<C extends new (...args: never[]) => object, K>(name: string, Class: C): K {
  Object.defineProperty(Class, 'name', { value: name })
  const face = new Proxy(Class, {
    apply: (target, _this, args) => Reflect.construct(target, args)
  })
  // So that `made.constructor` is what the caller knows.
  Object.defineProperty(Class.prototype, 'constructor', {
    value: face,
    writable: true,
    configurable: true
  })
  return face as unknown as K
}
