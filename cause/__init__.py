"""What is wrong with a pull, by what was seen of it: for the proxy and for the doctor.

Plain Python that knows neither mitmproxy nor requests. Whoever saw something hands in
an `evidence.Evidence`, and gets a `finding.Finding`, or nothing where all is well.
"""
