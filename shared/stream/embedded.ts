/** The embedded stream's two ends, at the address by which programs outside this project know them. */
export { openEmbeddedReader, openEmbeddedWriter } from './embedded/embedded.ts';
