/** A failure with the HTTP status that tells it. */
export class RpcError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
