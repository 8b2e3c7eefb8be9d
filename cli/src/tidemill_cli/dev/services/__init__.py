"""One of the embedded components as a pod's program: for demos and tests, never for anything that must last.

    tidemill-dev-services temporal | postgres | redis

The components are those of `tidemill dev`, with the same settings; here they listen on all addresses, on the ports that
everybody knows them by, and ask for a password.  This needs the standard library only: the image carries no more.
"""
