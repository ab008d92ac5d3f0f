/** What `netsy doctor` found of one thing. */
export interface DoctorFinding {
  /** `store`, `clock`, `disk`, `limits`, `tls`, `ports`. */
  readonly check: string;
  /** `warn`: a server would start, but look at it. `fail`: it would not, or would not be safe. */
  readonly result: 'ok' | 'warn' | 'fail';
  /** In words; of what is not ok, with what to do. */
  readonly text: string;
}

export function finding(check: string, result: DoctorFinding['result'], text: string): DoctorFinding {
  return { check, result, text };
}
