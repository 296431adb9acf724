/** What is used of `@niivue/dcm2niix`, which comes without types. */
declare module '@niivue/dcm2niix' {
  interface Processor {
    run(): Promise<File[]>
    /** `y`: a sidecar beside each volume; `n`: none. */
    b(value: 'y' | 'n'): Processor
    /** The pattern of file names. */
    f(value: string): Processor
    /** `i`: 3-D acquisitions are neither cropped nor turned. */
    x(value: 'y' | 'n' | 'i'): Processor
    /** `n`: values are scaled as the header says, not as Philips computes them. */
    p(value: 'y' | 'n'): Processor
    z(value: 'y' | 'n'): Processor
  }
  export class Dcm2niix {
    worker: Worker | null
    init(): Promise<true>
    input(files: readonly File[]): Processor
  }
}
