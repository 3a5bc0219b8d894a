/**
 * Wraps an event handler of foreign input so that it cannot throw. An exception there would end the process; instead it
 * is given to `onfailure`, which has to end the exchange that it belongs to.
 */
export function guarded<Args extends unknown[]>(
  handler: (...args: Args) => void,
  onfailure: (error: Error) => void
): (...args: Args) => void {
  return (...args) => {
    try {
      handler(...args)
    } catch (error) {
      onfailure(error as Error)
    }
  }
}
