/** The embedded driver's face: what other rooms take of it. */
export { openEmbeddedReader, openEmbeddedWriter } from './embedded/embedded.ts';
