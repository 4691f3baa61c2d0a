"""`make soak`: many clients and many faults for a while, and what the proxy takes."""
