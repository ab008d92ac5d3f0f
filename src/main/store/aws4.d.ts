/** The part of aws4 that is used here; the package brings no types. */
declare module 'aws4' {
  interface SignableRequest {
    readonly service: string;
    readonly region: string;
    readonly method: string;
    /** Percent-encoded, with its query. */
    readonly path: string;
    readonly headers: Readonly<Record<string, string>>;
  }
  interface SigningCredentials {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  }
  interface SignedRequest {
    readonly path: string;
    readonly headers: Record<string, string>;
  }
  const aws4: { sign(request: SignableRequest, credentials: SigningCredentials): SignedRequest };
  export default aws4;
}
