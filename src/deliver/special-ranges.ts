/**
 * The addresses that are not public unicast. The table holds all of the IANA special-purpose
 * registries for IPv4 and IPv6 (as of 2025-10-09), with IANA's names. It adds multicast, IPv6
 * outside 2000::/3, and the metadata services of the clouds. One of those (Azure's) has a public
 * address.
 *
 * The most specific range that contains an address decides. No setting opens a range marked `!`.
 * Metadata services give out the machine's credentials. No receiver has a link-local address. An
 * IPv6 address that carries an IPv4 address would bypass every rule for the IPv4 address.
 */
const table = `
  0.0.0.0/8              ! This network
  0.0.0.0/32             ! This host on this network
  10.0.0.0/8             Private-Use
  100.64.0.0/10          Shared Address Space
  100.100.100.200/32     ! Alibaba Cloud metadata
  127.0.0.0/8            Loopback
  168.63.129.16/32       ! Azure WireServer
  169.254.0.0/16         ! Link Local, where clouds keep their metadata
  172.16.0.0/12          Private-Use
  192.0.0.0/24           IETF Protocol Assignments
  192.0.0.0/29           IPv4 Service Continuity Prefix
  192.0.0.8/32           IPv4 dummy address
  192.0.0.9/32           Port Control Protocol Anycast
  192.0.0.10/32          Traversal Using Relays around NAT Anycast
  192.0.0.170/32         NAT64/DNS64 Discovery
  192.0.0.171/32         NAT64/DNS64 Discovery
  192.0.0.192/32         ! Oracle Cloud metadata
  192.0.2.0/24           Documentation (TEST-NET-1)
  192.31.196.0/24        AS112-v4
  192.52.193.0/24        AMT
  192.88.99.0/24         Deprecated (6to4 Relay Anycast)
  192.88.99.2/32         6a44-relay anycast address
  192.168.0.0/16         Private-Use
  192.175.48.0/24        Direct Delegation AS112 Service
  198.18.0.0/15          Benchmarking
  198.51.100.0/24        Documentation (TEST-NET-2)
  203.0.113.0/24         Documentation (TEST-NET-3)
  224.0.0.0/4            ! Multicast
  240.0.0.0/4            Reserved
  255.255.255.255/32     ! Limited Broadcast

  ::/3                   outside Global Unicast 2000::/3
  ::/96                  ! IPv4-Compatible
  ::/128                 ! Unspecified Address
  ::1/128                Loopback Address
  ::ffff:0:0:0/96        ! IPv4-Translated
  64:ff9b::/96           IPv4-IPv6 Translat.
  64:ff9b:1::/48         ! IPv4-IPv6 Translat.
  100::/64               Discard-Only Address Block
  100:0:0:1::/64         Dummy IPv6 Prefix
  2001::/23              IETF Protocol Assignments
  2001::/32              ! TEREDO
  2001:1::1/128          Port Control Protocol Anycast
  2001:1::2/128          Traversal Using Relays around NAT Anycast
  2001:1::3/128          DNS-SD Service Registration Protocol Anycast
  2001:2::/48            Benchmarking
  2001:3::/32            AMT
  2001:4:112::/48        AS112-v6
  2001:10::/28           Deprecated (previously ORCHID)
  2001:20::/28           ORCHIDv2
  2001:30::/28           Drone Remote ID Protocol Entity Tags (DETs) Prefix
  2001:db8::/32          Documentation
  2002::/16              ! 6to4
  2620:4f:8000::/48      Direct Delegation AS112 Service
  3fff::/20              Documentation
  4000::/2               outside Global Unicast 2000::/3
  5f00::/16              Segment Routing (SRv6) SIDs
  8000::/1               outside Global Unicast 2000::/3
  fc00::/7               Unique-Local
  fd00:42::42/128        ! Scaleway metadata
  fd00:100::100:200/128  ! Alibaba Cloud metadata
  fd00:a9fe:a9fe::1/128  ! Akamai metadata
  fd00:c1::a9fe:a9fe/128 ! Oracle Cloud metadata
  fd00:ec2::/32          ! AWS metadata and its other instance services
  fd20:ce::254/128       ! Google Cloud metadata
  fe80::/10              ! Link-Local Unicast
  fec0::/10              Deprecated (Site-Local Unicast)
  ff00::/8               ! Multicast
`;

export interface SpecialRange {
  readonly cidr: string;
  readonly name: string;
  /** No setting opens this range. */
  readonly closed: boolean;
}

/** Sorted: the most specific range is first. */
export const specialRanges: readonly SpecialRange[] = [...table.matchAll(/^ *(\S+) +(! )?(.+)$/gm)]
  .map(([, cidr = '', closed, name = '']) => ({ cidr, name, closed: closed !== undefined }))
  .sort((a, b) => prefixBits(b) - prefixBits(a));

function prefixBits({ cidr }: SpecialRange): number {
  return Number(cidr.split('/')[1]);
}
