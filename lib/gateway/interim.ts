/** More interim answers than this no service needs. */
const MAX_INTERIM_ANSWERS = 64

/** Counts the interim answers to one request, and says which of them its client gets. */
export class InterimAnswers {
  #count = 0
  #attempt = 0

  /** Whether any came. */
  get hasCome(): boolean {
    return this.#count > 0
  }

  /**
   * Whether to pass an interim answer on. Those to a second attempt only repeat what the client has heard already.
   *
   * @param attempt how often the request was sent so far
   * @throws SyntaxError if there are too many
   */
  admit(attempt: number): boolean {
    this.#count++
    if (this.#count > MAX_INTERIM_ANSWERS) {
      throw new SyntaxError(`more than ${MAX_INTERIM_ANSWERS} interim answers`)
    }
    this.#attempt ||= attempt
    return this.#attempt === attempt
  }
}
